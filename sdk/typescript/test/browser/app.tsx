/** A page as an application has it: a provider, components that come and go, StrictMode. */
import { StrictMode, useState } from 'react';
import { createRoot } from 'react-dom/client';
import type { EventOf, WsGatewayClient } from '../../dist/index.js';
import { useChannel, useConnection, useMessages, WsGatewayProvider } from '../../dist/react.js';

interface Price {
  price: number;
}

const renders = { price: 0 };
Object.assign(window, { renders });

function Price({ id, channel }: { id: string; channel: string | null }) {
  const { data, deleted, message, gaps, rejected } = useChannel<Price>(channel);
  renders.price += 1;
  return (
    <p id={id}>
      {rejected ?? data?.price ?? deleted ?? 'none'} {message?.snapshot ? 'snapshot' : ''} gaps {gaps}
    </p>
  );
}

function Trades() {
  const [trades, setTrades] = useState<number[]>([]);
  useMessages<Price>(['*.trade'], ({ data, deleted }) => setTrades((before) => [...before, deleted ? -1 : data.price].slice(-100)));
  return <p id="trades">{trades.join(',')}</p>;
}

function Connection() {
  const { state, gaps, reconnects, latencyMs, transport } = useConnection();
  return (
    <p id="connection">{`${state} ${transport} gaps ${gaps} reconnects ${reconnects} ${latencyMs === null ? 'unmeasured' : 'measured'}`}</p>
  );
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
      <Connection />
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
    return { unsubscribe: () => handlers.delete(handler) };
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
    </WsGatewayProvider>
  </StrictMode>,
);
