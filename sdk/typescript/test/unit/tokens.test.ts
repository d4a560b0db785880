/** Tokens over a WebSocket: how they are sent, exchanged before they expire, and what becomes of bad ones. With made-up time. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { type ClientEvent, type ClientOptions, createClient, type WsGatewayClient } from '../../src/index.js';

/** The other end of a WebSocket. */
class Socket {
  onmessage: ((event: { data: string }) => void) | null = null;
  onclose: ((event: { code: number; reason: string }) => void) | null = null;
  onopen = null;
  onerror = null;
  readyState = 1;
  sent: { type: string; id?: number; token?: string; resume?: unknown }[] = [];
  constructor(
    readonly url: string,
    readonly protocols: string[],
  ) {
    sockets.push(this);
  }
  send(data: string): void {
    this.sent.push(JSON.parse(data));
  }
  close(): void {}
  push(push: object): void {
    this.onmessage?.({ data: JSON.stringify(push) });
  }
  greet(): void {
    this.push({ type: 'connection:established', epoch: 'e', connectionId: 'c', pod: 'p', heartbeatMs: 25_000, limits: {}, ts: 1 });
  }
  end(code: number, reason = ''): void {
    this.onclose?.({ code, reason });
  }
  get tokens(): (string | undefined)[] {
    return this.sent.filter(({ type }) => type === 'auth').map(({ token }) => token);
  }
}

let sockets: Socket[];
let client: WsGatewayClient;
let events: ClientEvent[];
const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms);
const last = (): Socket => sockets.at(-1) as Socket;
const errors = () => events.flatMap((event) => (event.type === 'error' ? [event.code] : []));

beforeEach(() => {
  vi.useFakeTimers();
  // The delay is half of what it may be.
  vi.spyOn(Math, 'random').mockReturnValue(0.5);
  sockets = [];
  events = [];
});
afterEach(() => {
  client.close();
  vi.useRealTimers();
  vi.restoreAllMocks();
});

async function live(options: Partial<ClientOptions>): Promise<void> {
  client = createClient({ url: 'ws://gateway/ws?keep=1', WebSocket: Socket as never, fallback: [], lazy: true, ...options });
  for (const type of ['state', 'open', 'close', 'rejected', 'error'] as const) client.on(type, (event) => void events.push(event));
  client.connect();
  await pass(0);
  last().greet();
  expect(client.state).toBe('live');
}

/** A function for tokens that counts them; those of `failing` fail. */
function source(...failing: number[]): { token: () => Promise<string>; asked: () => number } {
  let asked = 0;
  const token = async (): Promise<string> => {
    asked += 1;
    if (failing.includes(asked)) throw new Error('the login is away');
    return `token-${asked}`;
  };
  return { token, asked: () => asked };
}

test('a token is a subprotocol, and stands in no address', async () => {
  await live({ token: 'a.b-c_d' });
  expect(last()).toMatchObject({ url: 'ws://gateway/ws?keep=1', protocols: ['wsgateway.v1', 'bearer.a.b-c_d'] });
});

test('a token that cannot be a subprotocol is a part of the address', async () => {
  await live({ token: 'a b/c=' });
  expect(last()).toMatchObject({ url: 'ws://gateway/ws?keep=1&token=a+b%2Fc%3D', protocols: ['wsgateway.v1'] });
});

test.each([{}, { token: '' }])('no token (%j) changes nothing', async (options) => {
  await live(options);
  expect(last()).toMatchObject({ url: 'ws://gateway/ws?keep=1', protocols: ['wsgateway.v1'] });
});

test('a token that is about to expire is exchanged on the connection that is there', async () => {
  await live(source());
  last().push({ type: 'token_expiring', expiresAt: 7 });
  await pass(0);
  expect(last().tokens).toEqual(['token-2']);
  last().push({ type: 'auth_ack', expiresAt: 9 });
  expect([client.state, sockets.length, errors()]).toEqual(['live', 1, []]);
});

test('a function that fails is asked again with backoff, and each failure is an error', async () => {
  const { token, asked } = source(2, 3);
  await live({ token });
  last().push({ type: 'token_expiring', expiresAt: 7 });
  await pass(0);
  expect([asked(), errors()]).toEqual([2, ['token_unavailable']]);
  await pass(250);
  expect([asked(), errors().length]).toEqual([3, 2]);
  await pass(499);
  expect(asked()).toBe(3);
  await pass(1);
  expect(last().tokens).toEqual(['token-4']);
});

test('a function that still fails when the token has expired is asked for the next connection', async () => {
  const { token } = source(2, 3, 4);
  await live({ token });
  last().push({ type: 'token_expiring', expiresAt: 7 });
  await pass(0);
  last().end(4004, 'the token has expired');
  await pass(6000);
  expect(sockets.length).toBe(2);
  expect(last().protocols[1]).toBe('bearer.token-5');
});

test('a token that never changes is not asked for', async () => {
  await live({ token: 'a' });
  last().push({ type: 'token_expiring', expiresAt: 7 });
  await pass(60_000);
  expect(last().tokens).toEqual([]);
  last().end(4004, 'the token has expired');
  expect([client.state, errors()]).toEqual(['refused', ['unauthorized']]);
});

test('after 4004 a fresh token is tried at once, and the cursor goes along', async () => {
  await live(source());
  client.subscribe('a', () => {});
  await pass(0);
  last().push({ type: 'subscription_ack', id: 1, subscribed: ['a'], rejected: [], count: 1, offset: 7 });
  last().end(4004, 'the token has expired');
  await pass(250);
  last().greet();
  expect(last().protocols[1]).toBe('bearer.token-2');
  expect(last().sent.find(({ type }) => type === 'subscribe')?.resume).toEqual({ epoch: 'e', offset: 7 });
  expect(errors()).toEqual([]);
});

test('tokens that are refused again and again are tried slowly, and the state says so', async () => {
  const { token, asked } = source();
  await live({ token });
  last().end(4001, 'who are you?');
  await pass(250);
  last().end(4001, 'who are you?');
  expect([client.state, errors(), asked()]).toEqual(['unauthorized', ['unauthorized'], 2]);
  await pass(5000);
  expect(asked()).toBe(2);
  await pass(1000);
  expect(asked()).toBe(3);
  last().greet();
  expect(client.state).toBe('live');
  // What was refused before is forgotten.
  last().end(4001, 'who are you?');
  expect(client.state).toBe('reconnecting');
});

test('a token of another user gets a connection of its own, which loses nothing', async () => {
  await live(source());
  last().push({ type: 'token_expiring', expiresAt: 7 });
  await pass(0);
  last().push({ type: 'error', code: 'wrong_user', message: 'open a new connection' });
  await pass(0);
  expect(sockets.length).toBe(2);
  expect(last().protocols[1]).toBe('bearer.token-3');
});

test('channels that a later token does not allow are rejected, and asked for again on the next connection', async () => {
  await live(source());
  client.subscribe(['a', 'b'], () => {});
  await pass(0);
  last().push({ type: 'subscription_ack', id: 1, subscribed: ['a', 'b'], rejected: [], count: 2, offset: 7 });
  last().push({ type: 'unsubscribed', channels: ['b'], reason: 'not_allowed' });
  expect(events.filter(({ type }) => type === 'rejected')).toEqual([{ type: 'rejected', channel: 'b', code: 'not_allowed' }]);
  last().end(1006);
  await pass(1000);
  last().greet();
  expect(last().sent.filter(({ type }) => type === 'subscribe')).toMatchObject([{ channels: ['a', 'b'] }]);
});

test('no event has a token in it', async () => {
  const { token } = source(2);
  await live({ token });
  last().push({ type: 'token_expiring', expiresAt: 7 });
  await pass(1000);
  for (const code of [4004, 4001, 4001, 1006]) {
    last().end(code, 'no');
    await pass(20_000);
  }
  expect(sockets.length).toBeGreaterThan(3);
  expect(JSON.stringify(events)).not.toContain('token-');
});
