/** One line after another: what listeners may do meanwhile, and when the next one is opened. With made-up time. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { type ClientEvent, type ClientOptions, createClient, type WsGatewayClient } from '../../src/index.js';

/** The other end of a WebSocket. */
class Socket {
  onmessage: ((event: { data: string }) => void) | null = null;
  onclose: ((event: { code: number; reason: string }) => void) | null = null;
  onopen = null;
  onerror = null;
  readyState = 1;
  sent: { type: string; id?: number; channels?: string[] }[] = [];
  closed = false;
  constructor() {
    sockets.push(this);
  }
  send(data: string): void {
    this.sent.push(JSON.parse(data));
  }
  close(): void {
    this.closed = true;
  }
  push(push: object): void {
    this.onmessage?.({ data: JSON.stringify(push) });
  }
  greet(limits = {}): void {
    this.push({ type: 'connection:established', epoch: 'e', connectionId: 'c', pod: 'p', heartbeatMs: 25_000, limits, ts: 1 });
  }
  end(code: number): void {
    this.onclose?.({ code, reason: '' });
  }
}

let sockets: Socket[];
let client: WsGatewayClient;
let events: ClientEvent[];
let surroundings: Record<string, () => void>;
const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms);
const last = (): Socket => sockets.at(-1) as Socket;
const states = () => events.flatMap((event) => (event.type === 'state' ? [event.state] : []));

beforeEach(() => {
  vi.useFakeTimers();
  // The delay is half of what it may be.
  vi.spyOn(Math, 'random').mockReturnValue(0.5);
  sockets = [];
  events = [];
  surroundings = {};
  vi.stubGlobal('addEventListener', (type: string, listener: () => void) => {
    surroundings[type] = listener;
  });
  network(true);
});
afterEach(() => {
  client.close();
  vi.useRealTimers();
  vi.restoreAllMocks();
  vi.unstubAllGlobals();
});

const network = (onLine: boolean) => vi.stubGlobal('navigator', { onLine });

function make(options: Partial<ClientOptions> = {}): void {
  client = createClient({ url: 'ws://gateway/ws', WebSocket: Socket as never, lazy: true, ...options });
  for (const type of ['state', 'open', 'close', 'error'] as const) client.on(type, (event) => void events.push(event));
}

async function live(options: Partial<ClientOptions> = {}): Promise<void> {
  make(options);
  client.connect();
  await pass(0);
  last().greet();
  expect(client.state).toBe('live');
}

test('close in a listener of the end stays closed', async () => {
  await live();
  client.on('close', () => client.close());
  last().end(1006);
  await pass(60_000);
  expect([client.state, sockets.length]).toEqual(['closed', 1]);
});

test('connect in a listener of the end tries at once, also when the end was a refusal', async () => {
  await live();
  client.on('close', () => client.connect());
  last().end(4010);
  await pass(0);
  expect([client.state, sockets.length]).toEqual(['connecting', 2]);
  // An attempt that fails, too.
  last().end(4010);
  await pass(0);
  expect([client.state, sockets.length]).toEqual(['connecting', 3]);
  last().greet();
  expect(client.state).toBe('live');
});

test.each(['connecting', 'reconnecting', 'live'] as const)('close in a listener of the state %s stays closed', async (when) => {
  make();
  client.on('state', ({ state }) => state === when && client.close());
  client.connect();
  await pass(0);
  if (when !== 'connecting') last().greet();
  if (when === 'reconnecting') last().end(1006);
  await pass(60_000);
  expect(client.state).toBe('closed');
  expect(states().at(-1)).toBe('closed');
  expect(sockets).toHaveLength(when === 'connecting' ? 0 : 1);
  // No timer of the attempt is left.
  expect(events.filter(({ type }) => type === 'close').map((event) => 'reason' in event && event.reason)).not.toContain(
    'not connected in time',
  );
});

test('close while the line opens leaves it closed', async () => {
  make();
  client.on('open', () => client.close());
  client.connect();
  await pass(0);
  last().greet();
  await pass(60_000);
  expect([client.state, sockets.length, last().closed, last().sent]).toEqual(['closed', 1, true, []]);
});

test('every listener is told in the order in which things happened', async () => {
  make();
  client.on('state', ({ state }) => state === 'reconnecting' && client.close());
  const told: string[] = [];
  client.on('state', ({ state }) => void told.push(state));
  client.connect();
  await pass(0);
  last().greet();
  last().end(1006);
  expect(told).toEqual(['connecting', 'live', 'reconnecting', 'closed']);
});

test('what comes in one frame behind a close is not delivered', async () => {
  const got: number[] = [];
  make();
  client.subscribe('a', ({ offset }) => {
    got.push(offset);
    if (offset === 12) client.close();
  });
  client.connect();
  await pass(0);
  last().greet();
  last().push({ type: 'subscription_ack', id: 1, subscribed: ['a'], rejected: [], offset: 10 });
  last().push({ type: 'batch', messages: [11, 12, 13, 14].map((offset) => ({ type: 'message', channel: 'a', offset, prev: 0, ts: 1 })) });
  expect(got).toEqual([11, 12]);
  expect(client.cursor).toEqual({ epoch: 'e', offset: 12 });
});

test('open tells of each line once', async () => {
  await live();
  last().greet();
  expect(events.filter(({ type }) => type === 'open')).toEqual([
    expect.objectContaining({ type: 'open', transport: 'websocket', epoch: 'e', connectionId: 'c', pod: 'p' }),
  ]);
});

test('a network that is said to be gone is tried all the same, now and then', async () => {
  await live();
  network(false);
  last().end(1006);
  expect(client.state).toBe('offline');
  await pass(29_000);
  expect(sockets).toHaveLength(1);
  await pass(2_000);
  expect(sockets).toHaveLength(2);
  last().greet();
  expect(client.state).toBe('live');
});

test('a network that goes while we wait is tried now and then, too', async () => {
  await live({ backoff: { baseMs: 60_000, capMs: 60_000 } });
  last().end(1006);
  network(false);
  surroundings.offline?.();
  expect(client.state).toBe('offline');
  await pass(31_000);
  expect(sockets).toHaveLength(2);
});

test('a network that comes back cuts the backoff short, but not what the server asked for', async () => {
  await live({ backoff: { baseMs: 60_000, capMs: 60_000 } });
  last().end(1006);
  surroundings.online?.();
  await pass(500);
  expect(sockets).toHaveLength(2);

  last().greet();
  last().end(4009);
  surroundings.online?.();
  surroundings.offline?.();
  surroundings.online?.();
  await pass(4_900);
  expect(sockets).toHaveLength(2);
  await pass(200);
  expect(sockets).toHaveLength(3);

  last().greet();
  last().push({ type: 'reconnect', afterMs: 9_000, reason: 'drain' });
  last().end(1012);
  surroundings.online?.();
  await pass(8_900);
  expect(sockets).toHaveLength(3);
  await pass(200);
  expect(sockets).toHaveLength(4);
});

/** Acknowledges the subscribe to `a`, answers the first ping, and forgets what was sent until now. */
function settle(pong: object): void {
  last().push({ type: 'subscription_ack', id: 1, subscribed: ['a'], rejected: [], offset: 10 });
  last().push({ type: 'pong', timestamp: 1, ts: 1, ...pong });
  last().sent.length = 0;
}

test('a silent line costs one ping, whose pong moves the cursor of quiet channels on', async () => {
  await live();
  client.subscribe('a', () => {});
  await pass(0);
  settle({ offset: 11 });
  expect(client.cursor).toEqual({ epoch: 'e', offset: 11 });
  for (const offset of [500, 900, 900, 1200]) {
    await pass(17_500);
    expect(last().sent.map(({ type }) => type)).toEqual(['ping']);
    last().push({ type: 'pong', timestamp: 1, ts: 1, offset });
    expect(client.cursor).toEqual({ epoch: 'e', offset });
    last().sent.length = 0;
  }
});

test('a gateway whose pongs carry no offset is asked for it, on each connection anew', async () => {
  await live();
  client.subscribe('a', () => {});
  await pass(0);
  settle({});
  for (const offset of [500, 900]) {
    await pass(17_500);
    expect(last().sent.map(({ type }) => type)).toEqual(['subscribe', 'ping']);
    const [{ id, channels } = {}] = last().sent;
    expect(channels).toEqual([]);
    last().push({ type: 'subscription_ack', id, subscribed: [], rejected: [], offset });
    last().push({ type: 'pong', timestamp: 1, ts: 1 });
    expect(client.cursor).toEqual({ epoch: 'e', offset });
    last().sent.length = 0;
  }
  // The next pod is newer, the one after it is not.
  for (const [pong, sent] of [
    [{ offset: 901 }, ['ping']],
    [{}, ['subscribe', 'ping']],
  ] as const) {
    last().end(1006);
    await pass(500);
    last().greet();
    const { id } = last().sent.find(({ type }) => type === 'subscribe') ?? {};
    last().push({ type: 'subscription_ack', id, subscribed: ['a'], rejected: [], recovered: true, offset: 900 });
    last().push({ type: 'live', id, offset: 900 });
    last().push({ type: 'pong', timestamp: 1, ts: 1, ...pong });
    last().sent.length = 0;
    await pass(17_500);
    expect(last().sent.map(({ type }) => type)).toEqual(sent);
  }
});

test('a line that brings messages is kept while a subscribe waits for its turn; one that does not is given up', async () => {
  await live();
  client.subscribe('a', () => {});
  await pass(0);
  for (let offset = 1; offset <= 10; offset++) {
    await pass(10_000);
    const pings = last().sent.filter(({ type }) => type === 'ping').length;
    expect(pings).toBeGreaterThan(0);
    last().push({ type: 'pong', timestamp: 1, ts: 1 });
    last().push({ type: 'message', channel: 'other', offset, prev: 0, ts: 1, data: 1 });
  }
  expect(sockets).toHaveLength(1);
  for (let n = 0; n < 8; n++) {
    await pass(5_000);
    last().push({ type: 'pong', timestamp: 1, ts: 1 });
  }
  expect(events).toContainEqual(expect.objectContaining({ type: 'close', reason: 'no answer in time' }));
});

test('that there is no network is said at once, and taken back when the line answers', async () => {
  await live();
  network(false);
  surroundings.offline?.();
  expect(client.state).toBe('offline');
  // What was under way proves nothing.
  last().push({ type: 'message', channel: 'a', offset: 1, prev: 0, ts: 1 });
  expect(client.state).toBe('offline');
  last().push({ type: 'pong', timestamp: 1, ts: 1 });
  expect([client.state, sockets.length]).toEqual(['live', 1]);
  await pass(10);
  surroundings.offline?.();
  await pass(4_100);
  expect(events).toContainEqual(expect.objectContaining({ type: 'close', reason: 'no answer in time' }));
  expect(client.state).toBe('offline');
});

test('a network that is back before the line was given up keeps the line', async () => {
  await live();
  surroundings.offline?.();
  surroundings.online?.();
  last().push({ type: 'pong', timestamp: 1, ts: 1 });
  await pass(10_000);
  expect([client.state, sockets.length]).toEqual(['live', 1]);
});

test('a client knows when it was heard from last', async () => {
  make();
  expect(client.lastHeardAt).toBeNull();
  client.connect();
  await pass(0);
  last().greet();
  const at = Date.now();
  expect(client.lastHeardAt).toBe(at);
  await pass(5_000);
  last().push({ type: 'message', channel: 'a', offset: 1, prev: 0, ts: 1 });
  last().end(1006);
  await pass(1_000);
  expect(client.lastHeardAt).toBe(at + 5_000);
});

test('where there is no WebSocket, or a page may not open it, that is an error, and it is tried again', async () => {
  vi.stubGlobal('WebSocket', undefined);
  make({ fallback: [] });
  client = createClient({ url: 'ws://gateway/ws', lazy: true, fallback: [] });
  client.on('error', (event) => void events.push(event));
  client.connect();
  await pass(0);
  expect(events).toMatchObject([
    { type: 'error', code: 'transport_unavailable', message: expect.stringContaining('pass one as the option') },
  ]);
  expect(client.state).toBe('reconnecting');
});

test('a connection that is replaced by one for another user is live again', async () => {
  await live();
  last().push({ type: 'error', code: 'wrong_user', message: 'another user' });
  await pass(0);
  expect([client.state, sockets.length]).toEqual(['connecting', 2]);
  last().greet();
  expect(client.state).toBe('live');
});

test('a WebSocket that is closed because its commands cannot be read is given up for another transport, three times at most', async () => {
  // Nothing is subscribed, so the client is back at WebSocket each time.
  await live({ fallback: ['sse'] });
  for (let n = 1; n < 3; n++) {
    last().end(1007);
    expect(client.state).toBe('reconnecting');
    await vi.waitUntil(() => sockets.length === n + 1, { timeout: 20_000 });
    last().greet();
  }
  last().end(1007);
  expect(client.state).toBe('refused');
  await pass(600_000);
  expect(sockets).toHaveLength(3);
});
