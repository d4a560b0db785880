/**
 * The lines without a way back: what they ask for and what they make of the answers, with a server that speaks their
 * formats to the letter and can be told what to answer.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { numbers, type Recorder, range, record } from '../support/recorder.js';
import { until } from '../support/until.js';

let server: Server;
let port: number;
let recorder: Recorder;
let requests: URL[];
let answer: (url: URL, response: ServerResponse) => void;

beforeEach(async () => {
  requests = [];
  server = createServer((request: IncomingMessage, response) => {
    const url = new URL(request.url ?? '', 'http://x');
    requests.push(url);
    answer(url, response);
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  port = (server.address() as { port: number }).port;
});
afterEach(() => {
  recorder.client.close();
  server.closeAllConnections();
  server.close();
});

/** A network where WebSocket does not work. */
class NoWebSocket {
  onclose: ((event: unknown) => void) | null = null;
  readyState = 3;
  constructor() {
    setTimeout(() => this.onclose?.({ code: 1006, reason: '' }));
  }
  send(): void {}
  close(): void {}
}

function connect(options: object = {}): void {
  recorder = record({ url: `ws://127.0.0.1:${port}/base/ws`, WebSocket: NoWebSocket as never, ...options });
}

const message = (channel: string, offset: number, n: number, more = {}) => ({
  type: 'message',
  channel,
  offset,
  prev: 0,
  ts: 1,
  data: { n },
  ...more,
});
const event = (push: { type: string; offset?: number }, id?: string) =>
  `${push.type === 'message' ? '' : `event: ${push.type}\n`}${id ? `id: ${id}\n` : ''}data: ${JSON.stringify(push)}\n\n`;
const subscribed = (url: URL, offset: number, more = {}) => {
  const channels = (url.searchParams.get('channels') ?? '').split(',');
  return { type: 'subscription_ack', subscribed: channels, rejected: [], count: channels.length, offset, ...more };
};
const json = (response: ServerResponse, body: object, status = 200) =>
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
const query = (url: URL) => Object.fromEntries(url.searchParams);

test('SSE: subscribes, delivers, and goes on from the cursor when the stream ends', async () => {
  answer = (url, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    const from = Number(url.searchParams.get('cursor')?.split(':').at(-1) ?? 10);
    response.write(event(subscribed(url, from, url.searchParams.has('cursor') ? { recovered: true } : {}), `e:${from}`));
    for (const n of range(from + 1, from + 3)) response.write(event(message('a', n, n - 10), `e:${n}`));
    if (from === 10) setTimeout(() => response.end(), 20);
  };
  connect({ token: 'secret', fallback: ['sse'] });
  recorder.client.subscribe('a', recorder.receive);
  await until('6 messages', () => recorder.messages.length === 6);
  expect(numbers(recorder.messages)).toEqual(range(1, 6));
  expect(recorder.client.transport).toBe('sse');
  expect(recorder.client.cursor).toEqual({ epoch: 'e', offset: 16 });
  const streams = requests.filter(({ pathname }) => pathname === '/base/sse');
  expect(streams.map(query)).toEqual([
    { channels: 'a', token: 'secret' },
    { channels: 'a', token: 'secret', cursor: 'e:13' },
  ]);
  expect(recorder.of('gap')).toEqual([]);
});

test('SSE: a change of channels opens the stream anew, from the cursor, with the last values of the new ones', async () => {
  answer = (url, response) => {
    if (url.pathname === '/base/poll')
      return json(response, { cursor: 'e:12', messages: [message('b', 5, 5, { snapshot: true })], gaps: [] });
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    const from = Number(url.searchParams.get('cursor')?.split(':').at(-1) ?? 10);
    response.write(event(subscribed(url, from), `e:${from}`));
    if (from === 10) response.write(event(message('a', 11, 1), 'e:11'));
  };
  connect();
  recorder.client.subscribe('a', recorder.receive);
  await until('the first', () => recorder.messages.length === 1);
  recorder.client.subscribe('b', recorder.receive, { snapshot: true });
  await until('the last value', () => recorder.messages.length === 2);
  expect(recorder.messages[1]).toMatchObject({ channel: 'b', offset: 5, snapshot: true });
  await until('both channels', () => recorder.of('subscribed').length === 2);
  const streams = requests.filter(({ pathname }) => pathname === '/base/sse');
  expect(streams.map(query)).toEqual([{ channels: 'a' }, { channels: 'a,b', cursor: 'e:11', snapshot: 'true' }]);
});

test('long-poll: one request after another, each from the cursor of the one before', async () => {
  answer = (url, response) => {
    const cursor = url.searchParams.get('cursor');
    if (cursor === null) return json(response, { cursor: 'e:10', messages: [], gaps: [] });
    const from = Number(cursor.split(':')[1]);
    if (from >= 16) return; // held, as a gateway does
    const messages = [message('a', from + 1, from - 9), message('a', from + 2, from - 8)];
    json(response, { cursor: `e:${from + 2}`, recovered: true, messages, gaps: [] });
  };
  connect({ fallback: ['poll'] });
  recorder.client.subscribe('a', recorder.receive);
  await until('6 messages', () => recorder.messages.length === 6);
  expect(numbers(recorder.messages)).toEqual(range(1, 6));
  expect(recorder.client.transport).toBe('poll');
  expect(recorder.client.state).toBe('live');
  await until('the held request', () => requests.length === 5);
  expect(requests.map((url) => url.searchParams.get('cursor'))).toEqual([null, 'e:10', 'e:12', 'e:14', 'e:16']);
  expect(requests.map((url) => url.searchParams.get('wait'))).toEqual(['0', '25', '25', '25', '25']);
});

test('long-poll: what is gone is told, what follows comes', async () => {
  answer = (url, response) => {
    const cursor = url.searchParams.get('cursor');
    if (cursor === 'e:60') return;
    const gaps = [{ type: 'gap', channel: 'a', from: 11, to: 50, reason: 'retention' }];
    json(response, { cursor: 'e:60', recovered: false, messages: [message('a', 55, 1)], gaps });
  };
  connect({ fallback: ['poll'], cursor: { epoch: 'e', offset: 10 } });
  recorder.client.subscribe('a', recorder.receive);
  await until('the message', () => recorder.messages.length === 1);
  expect(requests[0]?.searchParams.get('cursor')).toBe('e:10');
  expect(recorder.of('gap')).toEqual([{ type: 'gap', channel: 'a', from: 11, to: 50, reason: 'retention' }]);
  expect(recorder.of('subscribed')).toMatchObject([{ recovered: false, offset: 50 }]);
  await until('the cursor', () => recorder.client.cursor?.offset === 60);
});

test('a refusal is understood: advice is followed, a token that is refused twice ends it', async () => {
  let refusal = { status: 503, body: { code: 'full', message: 'every place is taken', retryAfterMs: 70 } };
  answer = (_, response) => json(response, refusal.body, refusal.status);
  let asked = 0;
  connect({ fallback: ['sse'], token: () => `token-${++asked}` });
  recorder.client.subscribe('a', recorder.receive);
  const told = () => recorder.of('close').filter(({ reason }) => reason !== '');
  await until('the refusal', () => told().length > 0);
  expect(told()[0]).toMatchObject({ code: 1013, reason: 'every place is taken', retryInMs: expect.any(Number) });
  expect(told()[0]?.retryInMs).toBeGreaterThanOrEqual(70);

  refusal = { status: 401, body: { code: 'token_invalid', message: 'who are you?', retryAfterMs: 0 } };
  await until('the end', () => recorder.client.state === 'refused');
  expect(told().at(-1)).toEqual({ type: 'close', code: 4001, reason: 'who are you?', retryInMs: null });
});

test('answers that make no sense end the line, and it is tried again', async () => {
  const bodies = ['', 'null', '[]', '{"cursor":5}', '{"cursor":"x"}', '{"cursor":"e:1","messages":5}'];
  answer = (_, response) => response.end(bodies[requests.length % bodies.length]);
  connect({ fallback: ['sse', 'poll'] });
  recorder.client.subscribe('a', recorder.receive);
  await until('attempts', () => requests.length > 12);
  expect(recorder.messages).toEqual([]);
});
