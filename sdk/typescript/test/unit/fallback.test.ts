/**
 * The lines without a way back: what they ask for and what they make of the answers, with a server that speaks their
 * formats to the letter and can be told what to answer.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { Message } from '../../src/index.js';
import { numbers, type Recorder, range, record } from '../support/recorder.js';
import { until } from '../support/until.js';

let server: Server;
let port: number;
let recorder: Recorder;
let requests: URL[];
/** What each of them said of who asks. */
let tokens: (string | undefined)[];
/** What a plain request to the WebSocket endpoint is answered. */
let upgrade: number;
let upgradeCode: string;
let upgrades: number;
let answer: (url: URL, response: ServerResponse) => void;

beforeEach(async () => {
  requests = [];
  tokens = [];
  upgrade = 426;
  upgradeCode = 'upgrade_required';
  upgrades = 0;
  server = createServer((request: IncomingMessage, response) => {
    const url = new URL(request.url ?? '', 'http://x');
    if (url.pathname === '/base/ws') {
      upgrades += 1;
      return json(response, { code: upgradeCode, message: '…' }, upgrade);
    }
    requests.push(url);
    tokens.push(request.headers.authorization);
    answer(url, response);
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  port = (server.address() as { port: number }).port;
});
afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllGlobals();
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
const established = (more = {}) => event({ type: 'connection:established', epoch: 'e', connectionId: 'c', ...more } as never);
/** An event stream begins; returns the offset that it goes on from. */
function begin(url: URL, response: ServerResponse, more = {}): number {
  const resumed = url.searchParams.get('cursor');
  const from = Number(resumed?.split(':').at(-1) ?? 10);
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  response.write(established(more));
  response.write(event(subscribed(url, from, resumed ? { recovered: true } : {}), `e:${from}`));
  if (resumed) response.write(event({ type: 'live', offset: from }, `e:${from}`));
  return from;
}
const subscribed = (url: URL, offset: number, more = {}) => {
  const channels = (url.searchParams.get('channels') ?? '').split(',');
  return { type: 'subscription_ack', subscribed: channels, rejected: [], count: channels.length, offset, ...more };
};
const json = (response: ServerResponse, body: object, status = 200) =>
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
const streams = () => requests.filter(({ pathname }) => pathname === '/base/sse');
const query = (url: URL) => Object.fromEntries(url.searchParams);

test('SSE: subscribes, delivers, and goes on from the cursor when the stream ends', async () => {
  answer = (url, response) => {
    const from = begin(url, response);
    for (const n of range(from + 1, from + 3)) response.write(event(message('a', n, n - 10), `e:${n}`));
    if (from === 10) setTimeout(() => response.end(), 20);
  };
  connect({ token: 'secret', fallback: ['sse'] });
  recorder.client.subscribe('a', recorder.receive);
  await until('6 messages', () => recorder.messages.length === 6);
  expect(numbers(recorder.messages)).toEqual(range(1, 6));
  expect(recorder.client.transport).toBe('sse');
  expect(recorder.client.cursor).toEqual({ epoch: 'e', offset: 16 });
  expect(streams().map(query)).toEqual([{ channels: 'a' }, { channels: 'a', cursor: 'e:13' }]);
  expect(tokens).toEqual(['Bearer secret', 'Bearer secret']);
  expect(recorder.of('gap')).toEqual([]);
});

test('SSE: a change of channels opens the stream anew, from the cursor, with the last values of the new ones', async () => {
  answer = (url, response) => {
    if (url.pathname === '/base/poll')
      return json(response, { cursor: 'e:12', messages: [message('b', 5, 5, { snapshot: true })], gaps: [] });
    const from = begin(url, response);
    if (from === 10) response.write(event(message('a', 11, 1), 'e:11'));
  };
  connect();
  recorder.client.subscribe('a', recorder.receive);
  await until('the first', () => recorder.messages.length === 1);
  recorder.client.subscribe('b', recorder.receive, { snapshot: true });
  await until('the last value', () => recorder.messages.length === 2);
  expect(recorder.messages[1]).toMatchObject({ channel: 'b', offset: 5, snapshot: true });
  await until('both channels', () => recorder.of('subscribed').length === 2);
  expect(streams().map(query)).toEqual([{ channels: 'a' }, { channels: 'a,b', cursor: 'e:11', snapshot: 'true' }]);
  expect(recorder.of('open')).toEqual([expect.objectContaining({ transport: 'sse', epoch: 'e', connectionId: 'c' })]);
});

test('SSE: a subscription that comes while the first is not acknowledged is served by the same line', async () => {
  answer = (url, response) => {
    // It goes out with the acknowledgement, which is in the middle of reading the first response.
    if (streams().length === 1) recorder.client.subscribe('b', recorder.receive);
    const both = url.searchParams.get('channels') === 'a,b';
    response.cork();
    const from = begin(url, response);
    // In one piece with the acknowledgement: something follows it that is not read any more.
    response.write(event(both ? message('b', from + 1, 1) : message('a', from, 1), `e:${from}`));
    response.uncork();
  };
  connect({ fallback: ['sse'] });
  recorder.client.subscribe('a', () => {});
  await until('the message', () => recorder.messages.length === 1);
  expect(recorder.of('close').filter(({ reason }) => reason !== '')).toEqual([]);
  expect([recorder.of('open').length, streams().length]).toEqual([1, 2]);
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
  expect(recorder.of('subscribed')).toMatchObject([{ recovered: false, offset: 54 }]);
  await until('the cursor', () => recorder.client.cursor?.offset === 60);
});

test.each(['sse', 'poll'] as const)('%s: a deletion comes as a message without data', async (transport) => {
  const gone = { type: 'message', channel: 'a', offset: 12, prev: 11, ts: 1, deleted: 'Purge' };
  answer = (url, response) => {
    if (url.pathname === '/base/sse') {
      begin(url, response);
      response.write(event(message('a', 11, 1), 'e:11') + event(gone, 'e:12'));
    } else if (!url.searchParams.get('cursor')) json(response, { cursor: 'e:12', messages: [message('a', 11, 1), gone] });
  };
  connect({ fallback: [transport] });
  recorder.client.subscribe('a', recorder.receive);
  await until('both', () => recorder.messages.length === 2);
  expect(recorder.messages).toMatchObject([{ data: { n: 1 } }, { offset: 12, data: undefined, deleted: 'Purge' }]);
});

test('a refusal is understood: advice is followed, a fresh token is tried once, then slowly', async () => {
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
  await until('the second refusal', () => recorder.client.state === 'unauthorized');
  const refusals = told().filter(({ code }) => code === 4001);
  expect(refusals).toMatchObject([{ reason: 'who are you?' }, { reason: 'who are you?' }]);
  expect(refusals[0]?.retryInMs).toBeLessThanOrEqual(500);
  expect(refusals[1]?.retryInMs).toBeGreaterThanOrEqual(5000);
  expect(recorder.of('error')).toEqual([{ type: 'error', code: 'unauthorized', message: 'who are you?' }]);
  expect(JSON.stringify(recorder.events)).not.toContain('token-');
});

test('a token that does not change and is refused ends it', async () => {
  answer = (_, response) => json(response, { code: 'token_invalid', message: 'who are you?' }, 401);
  connect({ fallback: ['sse'], token: 'secret' });
  recorder.client.subscribe('a', recorder.receive);
  await until('the end', () => recorder.client.state === 'refused');
  expect(recorder.of('close').at(-1)).toEqual({ type: 'close', code: 4001, reason: 'who are you?', retryInMs: null });
  expect(recorder.of('error')).toMatchObject([{ code: 'unauthorized' }]);
});

test('nothing is asked where the answer would change nothing', async () => {
  connect({ fallback: [], backoff: { baseMs: 5, capMs: 5 } });
  recorder.client.subscribe('a', recorder.receive);
  await until('some attempts', () => recorder.of('close').length > 6);
  expect(upgrades).toBe(0);
});

test('a page that is not told why its upgrades fail finds out, and says unauthorized', async () => {
  upgrade = 401;
  let asked = 0;
  connect({ fallback: [], token: () => `token-${++asked}`, backoff: { baseMs: 10 } });
  recorder.client.subscribe('a', recorder.receive);
  await until('unauthorized', () => recorder.client.state === 'unauthorized');
  expect(recorder.of('error')).toMatchObject([{ code: 'unauthorized' }]);
  expect(asked).toBeLessThan(8);
  upgrade = 426;
  recorder.client.connect();
  expect(recorder.client.state).toBe('connecting');
});

test('a page that is banned finds out, and stops', async () => {
  [upgrade, upgradeCode] = [403, 'banned'];
  let asked = 0;
  connect({ fallback: [], token: () => `token-${++asked}`, backoff: { baseMs: 10 } });
  recorder.client.subscribe('a', recorder.receive);
  await until('refused', () => recorder.client.state === 'refused');
  expect(recorder.of('close').at(-1)).toEqual({ type: 'close', code: 4013, reason: 'banned', retryInMs: null });
  expect(asked).toBeLessThan(8);
});

test.each(['sse', 'poll'] as const)('%s: a refusal for a ban ends it, whatever token there is', async (transport) => {
  answer = (_, response) => json(response, { code: 'banned', message: 'do not come back', retryAfterMs: 70 }, 403);
  let asked = 0;
  connect({ fallback: [transport], token: () => `token-${++asked}` });
  recorder.client.subscribe('a', recorder.receive);
  await until('the end', () => recorder.client.state === 'refused');
  expect(recorder.of('close').at(-1)).toEqual({ type: 'close', code: 4013, reason: 'do not come back', retryInMs: null });
});

test('SSE: a token that is about to expire is exchanged, and the stream goes on from the cursor', async () => {
  answer = (url, response) => {
    const from = begin(url, response);
    for (const n of range(from + 1, from + 3)) response.write(event(message('a', n, n - 10), `e:${n}`));
    if (from === 10) response.write(event({ type: 'token_expiring' }));
  };
  let asked = 0;
  connect({ fallback: ['sse'], token: () => `token-${++asked}` });
  recorder.client.subscribe('a', recorder.receive);
  await until('6 messages', () => recorder.messages.length === 6);
  expect(numbers(recorder.messages)).toEqual(range(1, 6));
  const [first, second] = tokens.slice(-2);
  expect(first).not.toEqual(second);
  expect(recorder.of('gap')).toEqual([]);
});

test('long-poll: a token that has expired is exchanged, and it goes on from the cursor', async () => {
  let good = 'token-1';
  answer = (url, response) => {
    if (tokens.at(-1) !== `Bearer ${good}`) return json(response, { code: 'token_expired', message: 'too old' }, 401);
    good = 'token-2';
    const from = Number(url.searchParams.get('cursor')?.slice(2) ?? 10);
    if (from < 16) json(response, { cursor: `e:${from + 3}`, messages: range(from + 1, from + 3).map((n) => message('a', n, n - 10)) });
  };
  connect({ fallback: ['poll'], token: () => good });
  recorder.client.subscribe('a', recorder.receive);
  await until('6 messages', () => recorder.messages.length === 6);
  expect(numbers(recorder.messages)).toEqual(range(1, 6));
  expect(recorder.of('gap')).toEqual([]);
});

test('SSE: last values of channels that are held come when the next subscription wants them', async () => {
  const values = [message('a', 7, 7, { snapshot: true }), message('a.later', 12, 12, { snapshot: true })];
  answer = (url, response) => {
    if (url.pathname === '/base/poll') return json(response, { cursor: 'e:12', messages: values });
    if (begin(url, response) === 10) response.write(event(message('b', 11, 1), 'e:11'));
  };
  connect();
  recorder.client.subscribe(['a', 'a.*', 'b'], recorder.receive);
  await until('the first', () => recorder.messages.length === 1);
  const got: Message[] = [];
  recorder.client.subscribe(['a', 'a.*'], (one) => void got.push(one), { snapshot: true });
  await until('the last value', () => got.length > 0);
  await until('the second stream', () => streams().length === 2);
  // What lies behind the cursor comes as a message by itself.
  expect(got.map(({ offset }) => offset)).toEqual([7]);
  expect(recorder.messages).toHaveLength(1);
});

test('SSE: nothing is asked of a line without a way back, so a quiet one is left alone; its cursor stays young', async () => {
  let stream: ServerResponse | undefined;
  answer = (url, response) => {
    stream = response;
    begin(url, response);
  };
  connect({ heartbeat: { intervalMs: 20, timeoutMs: 5000 } });
  recorder.client.subscribe('a', recorder.receive);
  await recorder.live();
  for (const offset of range(11, 20)) {
    stream?.write(`id: e:${offset}\n\n`);
    await until('the cursor', () => recorder.client.cursor?.offset === offset);
  }
  expect([requests.length, recorder.messages.length]).toEqual([1, 0]);
});

test('SSE: a cursor of a quiet stream does not overtake what it still looks for', async () => {
  const offsets: unknown[] = [];
  let stream: ServerResponse | undefined;
  answer = (url, response) => {
    stream = response;
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write(established() + event(subscribed(url, 10, { recovered: true }), 'e:10'));
  };
  connect({ cursor: { epoch: 'e', offset: 10 } });
  recorder.client.subscribe('a', () => void offsets.push(recorder.client.cursor?.offset));
  await until('the stream', () => recorder.of('subscribed').length === 1);
  stream?.write(`id: e:15\n\n${event(message('a', 17, 7), 'e:17')}${event({ type: 'live', offset: 30 }, 'e:30')}`);
  await until('the cursor', () => recorder.client.cursor?.offset === 30);
  expect(offsets).toEqual([17]);
});

test('SSE: a stream that falls silent is opened anew, from the cursor', async () => {
  answer = (url, response) => {
    const from = begin(url, response, { heartbeatMs: 50 });
    response.write(event(message('a', from + 1, from), `e:${from + 1}`));
  };
  connect({ heartbeat: { timeoutMs: 50 } });
  recorder.client.subscribe('a', recorder.receive);
  await until('three streams', () => streams().length >= 3);
  expect(streams().map((url) => url.searchParams.get('cursor'))).toEqual([null, 'e:11', 'e:12']);
  expect(recorder.of('close').at(-1)).toMatchObject({ code: 1006, reason: 'the event stream fell silent' });
});

test('SSE: a stream that was silent for too long when the network comes back is opened anew at once', async () => {
  const surroundings: Record<string, () => void> = {};
  vi.stubGlobal('addEventListener', (type: string, listener: () => void) => {
    surroundings[type] = listener;
  });
  answer = (url, response) => void begin(url, response);
  connect({ heartbeat: { timeoutMs: 60_000 } });
  recorder.client.subscribe('a', recorder.receive);
  await recorder.live();
  surroundings.online?.();
  expect(recorder.client.state).toBe('live');
  const now = Date.now();
  vi.spyOn(Date, 'now').mockReturnValue(now + 90_000);
  surroundings.online?.();
  expect(recorder.of('close').at(-1)).toMatchObject({ reason: 'the event stream fell silent' });
});

test('SSE: the end of a stream says whether and when to come back', async () => {
  const closes = [
    { code: 1013, reason: 'full', message: 'every place is taken', retryAfterMs: 70 },
    { code: 1000, reason: 'you asked' },
  ];
  answer = (url, response) => {
    begin(url, response);
    response.end(event({ type: 'close', ...closes[requests.length - 1] }));
  };
  connect({ fallback: ['sse'] });
  recorder.client.subscribe('a', recorder.receive);
  await until('the end', () => recorder.client.state === 'closed');
  const [first, second] = recorder.of('close').slice(-2);
  expect(first).toMatchObject({ code: 1013, reason: 'every place is taken' });
  expect(first?.retryInMs).toBeGreaterThanOrEqual(70);
  expect(second).toMatchObject({ code: 1000, reason: 'you asked', retryInMs: null });
});

test.each([4001, 4004, 4010, 4013])('SSE: after %i it stops, as on WebSocket', async (code) => {
  answer = (url, response) => {
    begin(url, response);
    response.end(event({ type: 'close', code, reason: 'no' } as never));
  };
  connect({ fallback: ['sse'] });
  recorder.client.subscribe('a', recorder.receive);
  await until('the end', () => recorder.client.state === 'refused');
  expect(recorder.of('close').at(-1)).toMatchObject({ code, retryInMs: null });
});

test.each(['sse', 'poll'] as const)(
  '%s: a channel that is rejected costs the others nothing, and is not asked for again',
  async (transport) => {
    const rejected = [{ channel: 'bad..channel', code: 'invalid_channel' }];
    answer = (url, response) => {
      const bad = url.search.includes('bad');
      if (url.pathname === '/base/sse') {
        response.writeHead(200, { 'content-type': 'text/event-stream' });
        const ack = { ...subscribed(url, 10), subscribed: ['good'], ...(bad && { rejected }) };
        response.write(established() + event(ack, 'e:10') + event(message('good', 11, 1), 'e:11'));
      } else if (url.searchParams.get('cursor') !== 'e:11') {
        json(response, { cursor: 'e:11', messages: [message('good', 11, 1)], ...(bad && { rejected }) });
      }
    };
    connect({ fallback: [transport] });
    recorder.client.subscribe(['good', 'bad..channel'], recorder.receive);
    await until('the message', () => recorder.messages.length === 1);
    expect(recorder.of('rejected')).toEqual([{ type: 'rejected', channel: 'bad..channel', code: 'invalid_channel' }]);
    expect(recorder.client.state).toBe('live');
    recorder.client.subscribe('more', recorder.receive);
    // The request that is given up for it may arrive behind it.
    const asked = () => requests.map((url) => url.searchParams.get('channels')).filter((channels) => channels?.includes('more'));
    await until('another request', () => asked().length > 0);
    expect(asked()).toEqual(['good,more']);
  },
);

test.each(['sse', 'poll'] as const)('%s: when every channel is rejected the line is left in peace', async (transport) => {
  const rejected = [{ channel: 'bad..channel', code: 'invalid_channel' }];
  answer = (url, response) => {
    if (url.pathname === '/base/poll') return json(response, { cursor: 'e:11', messages: [], rejected });
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write(established() + event({ ...subscribed(url, 10), subscribed: [], rejected } as never, 'e:10'));
  };
  connect({ fallback: [transport] });
  recorder.client.subscribe('bad..channel', recorder.receive);
  await until('the refusal', () => recorder.of('rejected').length === 1);
  expect(recorder.client.state).toBe('live');
  recorder.client.subscribe('other', recorder.receive);
  await until('another request', () => requests.some((url) => url.searchParams.get('channels') === 'other'));
  expect(new Set(requests.map((url) => url.searchParams.get('channels')))).toEqual(new Set(['bad..channel', 'other']));
});

test('answers that make no sense end the line, and it is tried again', async () => {
  const bodies = ['', 'null', '[]', '{"cursor":5}', '{"cursor":"x"}', '{"cursor":"e:1","messages":5}'];
  answer = (_, response) => response.end(bodies[requests.length % bodies.length]);
  connect({ fallback: ['sse', 'poll'] });
  recorder.client.subscribe('a', recorder.receive);
  await until('attempts', () => requests.length > 12);
  expect(recorder.messages).toEqual([]);
});
