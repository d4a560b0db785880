/** A page as an application has it: a provider, components that come and go, StrictMode. */
import { StrictMode, useEffect, useState } from 'react';
import { createRoot } from 'react-dom/client';
import type { EventOf, WsGatewayClient } from '../../dist/index.js';
import { useChannel, useConnection, useMessages, useOutage, WsGatewayProvider } from '../../dist/react.js';
import { useToken } from './use-token.js';

interface Price {
  price: number;
}

const renders: Record<string, number> = {};
Object.assign(window, { renders });
const rendered = (id: string): void => {
  renders[id] = (renders[id] ?? 0) + 1;
};

function Price({ id, channel, ...options }: { id: string; channel: string | null; coalesce?: boolean; maxRate?: number }) {
  const { data, deleted, message, gaps, rejected, stale } = useChannel<Price>(channel, options);
  useEffect(() => rendered(id));
  return (
    <p id={id}>
      {rejected ?? data?.price ?? deleted ?? 'none'} {message?.snapshot ? 'snapshot' : ''} gaps {gaps} {stale ? 'stale' : ''}
    </p>
  );
}

/** Whole euros only. */
function Whole() {
  const { data, stale } = useChannel<Price, number>('a.price', { select: ({ price }) => Math.floor(price) });
  useEffect(() => rendered('whole'));
  return (
    <p id="whole">
      {data} {stale ? 'stale' : ''}
    </p>
  );
}

/** More rows than a connection has places. */
function Rows() {
  const [[from, to], setShown] = useState([0, 0]);
  return (
    <>
      <button id="many" type="button" onClick={() => setShown([0, 200])}>
        many
      </button>
      <button id="few" type="button" onClick={() => setShown([150, 200])}>
        few
      </button>
      {[...Array(200).keys()].slice(from, to).map((n) => (
        <Row key={n} n={n} />
      ))}
    </>
  );
}

function Row({ n }: { n: number }) {
  const { data, rejected, state } = useChannel<{ n: number }>(`row.${n}`);
  return <i className="row">{rejected ?? data?.n ?? state}</i>;
}

function Trades() {
  const [trades, setTrades] = useState<number[]>([]);
  useMessages<Price>(['*.trade'], ({ data, deleted }) => setTrades((before) => [...before, deleted ? -1 : data.price].slice(-100)));
  return <p id="trades">{trades.join(',')}</p>;
}

function Outage() {
  return <p id="outage">{useOutage(300) ? 'polls' : 'no need'}</p>;
}

/** What was polled before. */
function Migrated() {
  return <p id="migrated">{useToken('A', 'push')?.price ?? 'none'}</p>;
}

function Connection() {
  const { state, gaps, reconnects, latencyMs, transport, rejected } = useConnection();
  const measured = latencyMs === null ? 'unmeasured' : 'measured';
  return <p id="connection">{`${state} ${transport} gaps ${gaps} reconnects ${reconnects} ${measured} rejected ${rejected.length}`}</p>;
}

function App() {
  const [shown, setShown] = useState(true);
  const [channel, setChannel] = useState('a.price');
  return (
    <>
      <button id="toggle" type="button" onClick={() => setShown(!shown)}>
        toggle
      </button>
      <button id="switch" type="button" onClick={() => setChannel(channel === 'a.price' ? 'b.price' : 'a.price')}>
        switch
      </button>
      {shown && <Price id="first" channel={channel} />}
      <Price id="second" channel="a.price" />
      <Price id="nothing" channel={null} />
      <Price id="refused" channel="bad..channel" />
      <Trades />
      <Rows />
      <Connection />
      <Outage />
      <Migrated />
    </>
  );
}

/** A client whose gaps and messages the test makes. */
const listeners = new Set<(gap: EventOf<'gap'>) => void>();
const handlers = new Set<(message: object) => void>();
const puppet = {
  state: 'live',
  transport: 'websocket',
  latencyMs: null,
  subscribe(_: string, handler: (message: object) => void) {
    handlers.add(handler);
    return { state: 'live', rejected: {}, unsubscribe: () => handlers.delete(handler) };
  },
  on(type: string, listener: (gap: EventOf<'gap'>) => void) {
    if (type === 'gap') listeners.add(listener);
    return () => listeners.delete(listener);
  },
} as unknown as WsGatewayClient;
Object.assign(window, {
  bring(message: object) {
    for (const handler of handlers) handler({ type: 'message', channel: 'a.price', prev: 0, ts: 1, ...message });
  },
  /** One message per task, more than a frame's worth. */
  async bringMany(count: number) {
    const { port1, port2 } = new MessageChannel();
    for (let n = 1; n <= count; n++) {
      const next = new Promise((done) => {
        port1.onmessage = done;
      });
      port2.postMessage(n);
      await next;
      for (const handler of handlers)
        handler({ type: 'message', channel: 'a.price', prev: 0, ts: 1, offset: 100 + n, data: { price: 5 + n / 1000 } });
    }
  },
  tellGap(channel: string) {
    for (const listener of listeners) listener({ type: 'gap', channel, from: 1, to: 2, reason: 'retention' });
  },
});

const url = new URLSearchParams(location.search).get('gateway') ?? '';
createRoot(document.getElementById('root') as HTMLElement).render(
  <StrictMode>
    <WsGatewayProvider url={url} backoff={{ baseMs: 50, capMs: 200 }}>
      <App />
    </WsGatewayProvider>
    <WsGatewayProvider client={puppet}>
      <Price id="puppet" channel="a.price" />
      <Price id="each" channel="a.price" coalesce={false} />
      <Price id="slow" channel="a.price" maxRate={0.001} />
      <Whole />
    </WsGatewayProvider>
  </StrictMode>,
);
