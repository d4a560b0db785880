/** What a developer reads, with sockets that the test speaks for. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { debug } from '../../src/debug.js';
import { createClient, type WsGatewayClient } from '../../src/index.js';

class Socket {
  onmessage: ((event: { data: string }) => void) | null = null;
  onclose: ((event: { code: number; reason: string }) => void) | null = null;
  onopen = null;
  onerror = null;
  readyState = 1;
  constructor() {
    socket = this;
  }
  send(): void {}
  close(): void {}
  push(push: object): void {
    this.onmessage?.({ data: JSON.stringify(push) });
  }
}

let socket: Socket;
let client: WsGatewayClient;
let lines: string[];

beforeEach(() => {
  vi.useFakeTimers();
  lines = [];
});
afterEach(() => {
  client.close();
  vi.useRealTimers();
});

async function live(): Promise<() => void> {
  client = createClient({ url: 'ws://gateway/ws', WebSocket: Socket as never, token: () => 'secret.token', lazy: true });
  const stop = debug(client, { log: (line) => void lines.push(line) });
  for (const channel of ['btc.price', 'BTC.price', 'prices.ETH.price', 'quiet']) client.subscribe(channel, () => {});
  client.connect();
  await vi.advanceTimersByTimeAsync(0);
  socket.push({ type: 'connection:established', epoch: 'e', pod: 'p-0' });
  const subscribed = ['btc.price', 'BTC.price', 'prices.ETH.price', 'quiet'];
  socket.push({ type: 'subscription_ack', id: 1, subscribed, rejected: [{ channel: 'no', code: 'not_allowed' }], offset: 10 });
  socket.push({ type: 'message', channel: 'BTC.price', offset: 11, prev: 0, ts: 1, data: 'payload' });
  return stop;
}

test('events are lines, without tokens and payloads', async () => {
  const stop = await live();
  socket.onclose?.({ code: 1006, reason: 'gone' });
  stop();
  expect(lines).toEqual([
    'wsgateway: closed → connecting',
    'wsgateway: open by websocket, pod p-0, epoch e',
    'wsgateway: subscribed to btc.price, BTC.price, prices.ETH.price, quiet from offset 10',
    'wsgateway: rejected no: not_allowed',
    'wsgateway: connecting → live',
    expect.stringMatching(/^wsgateway: closed with 1006 gone; next attempt in \d+ ms$/),
    'wsgateway: live → reconnecting',
  ]);
  expect(lines.join()).not.toMatch(/secret|payload/);
});

test('channels on which nothing comes are hinted at once, with what may have been meant', async () => {
  await live();
  lines = [];
  await vi.advanceTimersByTimeAsync(10_000);
  const hints = lines.filter((line) => line.includes('nothing has come'));
  expect(hints.map((line) => line.split(' yet')[0])).toEqual(
    ['btc.price', 'prices.ETH.price', 'quiet'].map((channel) => `wsgateway: nothing has come on ${channel}`),
  );
  expect(hints[0]).toContain('; is BTC.price meant?');
  expect(hints[2]).toContain('without the prefix that the gateway strips');
});

test('after it was stopped it writes nothing', async () => {
  const stop = await live();
  stop();
  lines = [];
  await vi.advanceTimersByTimeAsync(60_000);
  expect(lines).toEqual([]);
});
