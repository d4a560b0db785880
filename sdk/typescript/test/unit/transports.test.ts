/** When a client leaves WebSocket, and how it comes back: with a server and sockets that can be told what to do. */
import { createServer, type Server, type ServerResponse } from 'node:http';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { numbers, type Recorder, range, record } from '../support/recorder.js';
import { until } from '../support/until.js';

let server: Server;
let port: number;
let recorder: Recorder;
/** Status of a plain request to the WebSocket endpoint; undefined: no answer at all; 0: every fifth 503, else 426. */
let endpoint: number | undefined;
/** Requests, by the last part of their path. */
let requests: string[];
let streams: ServerResponse[];
/** What becomes of the next WebSockets. */
let sockets: 'refused' | 'silent' | 'greeted' | number;
let opened: Socket[];
/** Event streams are refused; undefined: they hang. */
let broken: boolean | undefined;
let offset: number;

/** A WebSocket as a browser has it: of a refused upgrade it says nothing. */
class Socket {
  onmessage: ((event: { data: string }) => void) | null = null;
  onclose: ((event: { code: number; reason: string }) => void) | null = null;
  onopen = null;
  onerror = null;
  readyState = 1;
  closed = false;
  constructor() {
    opened.push(this);
    const end = (code: number) => this.onclose?.({ code, reason: '' });
    if (sockets === 'refused') setTimeout(() => end(1006));
    else if (typeof sockets === 'number') setTimeout(end, 0, sockets);
    else if (sockets === 'greeted') setTimeout(() => this.push({ type: 'connection:established', epoch: 'e', connectionId: 'c' }));
  }
  push(push: object): void {
    this.onmessage?.({ data: JSON.stringify(push) });
  }
  send(text: string): void {
    const { type, id, channels } = JSON.parse(text);
    if (type !== 'subscribe' || channels.length === 0) return;
    this.push({ type: 'subscription_ack', id, subscribed: channels, rejected: [], recovered: true, offset });
    this.push({ type: 'live', id, offset });
  }
  close(): void {
    this.closed = true;
  }
}

const event = (push: { type: string }, id: string) =>
  `${push.type === 'message' ? '' : `event: ${push.type}\n`}id: ${id}\ndata: ${JSON.stringify(push)}\n\n`;

beforeEach(async () => {
  [requests, streams, opened, sockets, endpoint, offset] = [[], [], [], 'refused', 426, 10];
  broken = false;
  server = createServer((request, response) => {
    const url = new URL(request.url ?? '', 'http://x');
    const name = url.pathname.split('/').at(-1) ?? '';
    requests.push(name);
    if (name === 'ws') {
      if (endpoint !== undefined) response.writeHead(endpoint || (count('ws') % 5 === 0 ? 503 : 426)).end();
      return;
    }
    if (broken === undefined) return;
    if (broken) return void response.writeHead(404).end();
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write(event({ type: 'connection:established', epoch: 'e' } as never, `e:${offset}`));
    const ack = { type: 'subscription_ack', subscribed: ['a'], rejected: [], recovered: true, offset };
    response.write(event(ack, `e:${offset}`) + event({ type: 'live', offset } as never, `e:${offset}`));
    streams.push(response);
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  port = (server.address() as { port: number }).port;
});
afterEach(() => {
  recorder.client.close();
  vi.unstubAllGlobals();
  server.closeAllConnections();
  server.close();
});

function connect(options: object = {}): void {
  const url = `ws://127.0.0.1:${port}/base/ws`;
  recorder = record({ url, WebSocket: Socket as never, fallback: ['sse'], backoff: { baseMs: 5, capMs: 20 }, ...options });
  recorder.client.subscribe('a', recorder.receive);
}

const live = async (transport: string): Promise<void> => {
  await recorder.live();
  expect(recorder.client.transport).toBe(transport);
};
const count = (name: string) => requests.filter((one) => one === name).length;
/** Publishes on the event stream. */
function publish(): void {
  offset += 1;
  const message = { type: 'message', channel: 'a', offset, prev: 0, ts: 1, data: { n: offset - 10 } };
  streams.at(-1)?.write(event(message, `e:${offset}`));
}

test.each([503, 502, 504, 500, 429])('an upgrade that fails while HTTP is answered %i is tried again, and nothing else', async (status) => {
  endpoint = status;
  connect();
  await until('attempts, and what they led to', () => opened.length > 20 && requests.length > 2);
  expect(new Set(requests)).toEqual(new Set(['ws']));
  sockets = 'greeted';
  await live('websocket');
});

test('an upgrade that fails while nothing answers is tried again, and one request waits at a time', async () => {
  endpoint = undefined;
  connect();
  await until('attempts, and a request', () => opened.length > 20 && requests.length > 0);
  expect(requests).toEqual(['ws']);
  sockets = 'greeted';
  await live('websocket');
});

test.each([1012, 1013, 4008, 4011])('a server that closes with %i before it greets leads nowhere else', async (code) => {
  sockets = code;
  connect();
  await until('attempts', () => opened.length > 20);
  expect(requests).toEqual([]);
});

test('upgrades that fail while HTTP works lead to the event stream', async () => {
  connect();
  await live('sse');
  expect(count('ws')).toBeGreaterThanOrEqual(2);
});

test('a fleet that had WebSocket and is turned away stays with it, whoever gets a place in between', async () => {
  sockets = 'greeted';
  connect();
  await live('websocket');
  sockets = 'refused';
  // Most of the time somebody leaves just after the upgrade was refused.
  endpoint = 0;
  opened.at(-1)?.onclose?.({ code: 1013, reason: '' });
  await until('attempts', () => count('ws') > 30);
  expect(new Set(requests)).toEqual(new Set(['ws']));
  sockets = 'greeted';
  await live('websocket');
});

test('a token that cannot be had says nothing of WebSocket', async () => {
  let tokens = 0;
  sockets = 'greeted';
  connect({ token: () => (++tokens < 10 ? Promise.reject(new Error('no')) : 'token') });
  await live('websocket');
  expect(requests).toEqual([]);
});

test('while WebSocket is tried again the event stream goes on, and its end does not put that off', async () => {
  connect({ probeMs: 60, connectTimeoutMs: 30 });
  await live('sse');
  sockets = 'silent';
  const before = opened.length;
  publish();
  await until('trials', () => {
    if (recorder.client.state === 'live') streams.at(-1)?.end();
    return opened.length >= before + 3;
  });
  expect(new Set(recorder.of('open').map(({ transport }) => transport))).toEqual(new Set(['sse']));
  // Trials end, and are never two at a time.
  await until('the end of the last trial', () => opened.slice(before).every(({ closed }) => closed));
});

test('trials that fail disturb nothing, and the first that works is followed by a line of that kind', async () => {
  connect({ probeMs: 20 });
  await live('sse');
  const before = opened.length;
  await until('failed trials', () => opened.length >= before + 3);
  publish();
  await until('the message', () => recorder.messages.length === 1);
  expect([streams.length, recorder.of('close').filter(({ reason }) => reason !== '').length]).toEqual([1, 0]);
  sockets = 'greeted';
  await until('a WebSocket', () => recorder.client.transport === 'websocket' && recorder.client.state === 'live');
  opened.at(-1)?.push({ type: 'message', channel: 'a', offset: 12, prev: 11, ts: 1, data: { n: 2 } });
  expect(numbers(recorder.messages)).toEqual(range(1, 2));
  // The trial itself is the line.
  expect([recorder.of('gap'), opened.at(-1)?.closed]).toEqual([[], false]);
});

test('a client that is closed during a trial leaves nothing open', async () => {
  connect({ probeMs: 10, connectTimeoutMs: 60_000 });
  await live('sse');
  sockets = 'silent';
  const before = opened.length;
  await until('a trial', () => opened.length > before);
  recorder.client.close();
  expect(opened.at(-1)?.closed).toBe(true);
});

test('a WebSocket that hangs is overtaken by the event stream, and takes over when it opens after all', async () => {
  sockets = 'silent';
  connect({ raceMs: 20 });
  await live('sse');
  expect([opened.length, opened[0]?.closed]).toEqual([1, false]);
  expect(recorder.of('close')).toEqual([]);
  publish();
  await until('the message', () => recorder.messages.length === 1);
  opened[0]?.push({ type: 'connection:established', epoch: 'e', connectionId: 'c' });
  await live('websocket');
  opened[0]?.push({ type: 'message', channel: 'a', offset: 12, prev: 11, ts: 1, data: { n: 2 } });
  expect(numbers(recorder.messages)).toEqual(range(1, 2));
  expect(recorder.of('open').map(({ transport }) => transport)).toEqual(['sse', 'websocket']);
  expect(recorder.of('state').map(({ state }) => state)).toEqual(['connecting', 'live']);
});

test('the next attempt begins with what worked last, and a WebSocket that goes on hanging costs nothing', async () => {
  sockets = 'silent';
  connect({ raceMs: 20, connectTimeoutMs: 500, probeMs: 20 });
  await live('sse');
  streams.at(-1)?.destroy();
  await until('the next stream', () => streams.length === 2);
  await live('sse');
  await until('trials that hang', () => opened.filter(({ closed }) => closed).length >= 2);
  publish();
  await until('the message', () => recorder.messages.length === 1);
  expect(streams).toHaveLength(2);
  expect(recorder.of('close')).toHaveLength(1);
});

test('an event stream that fails next to a WebSocket that is slow leaves it alone', async () => {
  sockets = 'silent';
  broken = true;
  connect({ raceMs: 20 });
  await until('the event stream', () => count('sse') > 0);
  await until('its end', () => recorder.client.transport === 'websocket');
  expect([opened.length, opened[0]?.closed, recorder.of('close')]).toEqual([1, false, []]);
  opened[0]?.push({ type: 'connection:established', epoch: 'e', connectionId: 'c' });
  await live('websocket');
});

test('where an event stream hangs too, the next attempt is raced by long-poll', async () => {
  sockets = 'silent';
  broken = undefined;
  connect({ raceMs: 10, connectTimeoutMs: 400, fallback: ['sse', 'poll'] });
  await until('a long-poll', () => count('poll') > 0);
  expect(requests.filter((name) => name !== 'ws')).toEqual(['sse', 'poll']);
});

test('a WebSocket that is refused while the event stream is being opened ends the attempt', async () => {
  sockets = 'silent';
  broken = undefined;
  connect({ raceMs: 10 });
  await until('the event stream', () => count('sse') > 0);
  opened[0]?.onclose?.({ code: 4010, reason: 'too many' });
  await until('the end', () => recorder.client.state === 'refused');
  expect(recorder.of('close')).toMatchObject([{ code: 4010, retryInMs: null }]);
});

test('what worked is known after a reload of the page, for this gateway, and no longer than it holds', async () => {
  const stored = new Map<string, string>();
  const sessionStorage = {
    getItem: (key: string) => stored.get(key) ?? null,
    setItem: (key: string, value: string) => void stored.set(key, value),
    removeItem: (key: string) => void stored.delete(key),
  };
  vi.stubGlobal('sessionStorage', sessionStorage);
  sockets = 'silent';
  connect({ raceMs: 20 });
  await live('sse');
  recorder.client.close();
  opened.length = 0;
  connect();
  await live('sse');
  expect([opened.length, [...stored.keys()]]).toEqual([0, [`wsgateway:127.0.0.1:${port}`]]);
  recorder.client.close();
  sockets = 'greeted';
  connect({ probeMs: 10 });
  await until('a WebSocket', () => recorder.of('open').some(({ transport }) => transport === 'websocket'));
  expect(stored.size).toBe(0);
  // What somebody else wrote there is no transport.
  stored.set(`wsgateway:127.0.0.1:${port}`, 'constructor');
  recorder.client.close();
  connect();
  await live('websocket');
});

test('a page that may not store anything works all the same', async () => {
  const denied = () => {
    throw new Error('denied');
  };
  vi.stubGlobal('sessionStorage', { getItem: denied, setItem: denied, removeItem: denied });
  sockets = 'silent';
  connect({ raceMs: 20 });
  await live('sse');
});

test('a path where there is nothing is an error, and no reason for an event stream next to it', async () => {
  endpoint = 404;
  connect();
  await until('errors', () => recorder.of('error').length > 2);
  expect(recorder.of('error')[0]).toMatchObject({ code: 'not_found', message: expect.stringContaining('/base/ws of 127.0.0.1') });
  expect(new Set(requests)).toEqual(new Set(['ws']));
});
