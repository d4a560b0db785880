/** The lines without a way back on a real gateway, behind a network that refuses WebSocket. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import type { Message } from '../../src/index.js';
import { withServers } from '../support/fixture.js';
import { Publisher } from '../support/publisher.js';
import { numbers, type Recorder, range, record } from '../support/recorder.js';
import { Relay } from '../support/relay.js';
import { Gateway, type Nats } from '../support/servers.js';
import { until } from '../support/until.js';

let nats: Nats;
let gateway: Gateway;
let relay: Relay;
let recorder: Recorder;

withServers('each', (servers) => ({ nats, gateway, relay } = servers));
beforeEach(() => {
  relay.noWebSocket = true;
});
afterEach(() => recorder.client.close());

test.each(['sse', 'poll'] as const)(
  '%s: delivers everything once, over cut connections and a gateway that is killed',
  async (transport) => {
    await nats.publish('line.last', { n: 99 });
    recorder = record({ url: relay.url, fallback: [transport] });
    recorder.client.subscribe('line.a', recorder.receive);
    await recorder.live();
    expect(recorder.client.transport).toBe(transport);

    const publisher = new Publisher(nats, 'line.a');
    const more = async () => {
      const before = recorder.messages.length;
      await until(
        'messages',
        () => recorder.messages.length > before + 20,
        () => JSON.stringify(recorder.events.slice(-6)),
      );
    };
    await more();
    relay.cut();
    await more();
    const last: unknown[] = [];
    recorder.client.subscribe('line.last', ({ data, snapshot }) => void last.push([data, snapshot]), { snapshot: true });
    await until('the last value', () => last.length === 1);
    expect(last).toEqual([[{ n: 99 }, true]]);
    await more();
    await gateway.end('SIGKILL');
    await gateway.launch();
    await more();
    const count = await publisher.stop();
    await until('all', () => recorder.messages.length >= count);
    expect(numbers(recorder.messages)).toEqual(range(1, count));
    expect(recorder.of('gap')).toEqual([]);
  },
);

test.each(['sse', 'poll'] as const)('%s: a channel that is refused is reported, and the others work', async (transport) => {
  recorder = record({ url: relay.url, fallback: [transport] });
  recorder.client.subscribe('good', recorder.receive);
  await recorder.live();
  recorder.client.subscribe('bad..channel', recorder.receive);
  await until(
    'the refusal',
    () => recorder.of('rejected').length === 1,
    () => JSON.stringify(recorder.events.slice(-6)),
  );
  expect(recorder.of('rejected')[0]).toMatchObject({ channel: 'bad..channel' });
  await nats.publish('good', { n: 1 });
  await until('the message', () => recorder.messages.length === 1);
  expect(recorder.client.transport).toBe(transport);
});

test.each(['sse', 'poll'] as const)('%s: a subscription that follows the first acknowledgement hears everything', async (transport) => {
  await nats.publish('line.a', { n: 1 });
  recorder = record({ url: relay.url, fallback: [transport] });
  const second: Message[] = [];
  // It waits for the acknowledgement, and is asked for while the last values that come with it are read.
  recorder.client.on('open', () => void recorder.client.subscribe('line.b', (message) => void second.push(message)));
  recorder.client.subscribe('line.a', recorder.receive, { snapshot: true });
  await until('both', () => recorder.of('subscribed').some(({ channels }) => channels.includes('line.b')));
  await until('the last value', () => recorder.messages.length === 1);
  await nats.publish('line.b', { n: 1 });
  await nats.publish('line.a', { n: 2 });
  await until(
    'the messages',
    () => second.length === 1 && recorder.messages.length === 2,
    () => JSON.stringify([second, recorder.messages, recorder.events]),
  );
  expect(recorder.of('open')).toHaveLength(1);
});

test('when WebSocket works again it is taken, and nothing is lost on the way', async () => {
  recorder = record({ url: relay.url, fallback: ['sse'], probeMs: 100 });
  recorder.client.subscribe('back.a', recorder.receive);
  await recorder.live();
  expect(recorder.client.transport).toBe('sse');
  const publisher = new Publisher(nats, 'back.a');
  await until('messages', () => recorder.messages.length > 20);
  relay.noWebSocket = false;
  await until('a WebSocket', () => recorder.client.transport === 'websocket' && recorder.client.state === 'live');
  const count = await publisher.stop();
  await until('all', () => recorder.messages.length >= count);
  expect(numbers(recorder.messages)).toEqual(range(1, count));
  expect(recorder.of('gap')).toEqual([]);
});

test('a wrong path is an error, and not an event stream next to it', async () => {
  recorder = record({ url: gateway.url.replace(/ws$/, 'wrong') });
  recorder.client.subscribe('path.a', recorder.receive);
  await until('the error', () => recorder.of('error').length > 1);
  expect(recorder.of('error')[0]).toMatchObject({ code: 'not_found', message: expect.stringContaining('/wrong') });
  expect(recorder.of('open')).toEqual([]);
});

test('a gateway that is full, away or not ready is waited for with WebSocket', async () => {
  const small = await Gateway.start(nats, { capacity: { connections: 1 } });
  const first = record({ url: small.url });
  await first.live();
  recorder = record({ url: small.url });
  recorder.client.subscribe('full.a', recorder.receive);
  const failures = () => recorder.of('close').length;
  await until('refusals', () => failures() >= 10);
  first.client.close();
  await recorder.live();
  await small.end('SIGKILL');
  const before = failures();
  await until('failures', () => failures() >= before + 10);
  await small.launch();
  await recorder.live();
  await nats.publish('full.a', { n: 1 });
  await until('the message', () => recorder.messages.length === 1);
  expect(new Set(recorder.of('open').map(({ transport }) => transport))).toEqual(new Set(['websocket']));
  await small.stop();
});

test('while trials of WebSocket fail nothing of the event stream is cut', async () => {
  recorder = record({ url: relay.url, fallback: ['sse'], probeMs: 50 });
  recorder.client.subscribe('trial.a', recorder.receive);
  await recorder.live();
  const publisher = new Publisher(nats, 'trial.a');
  const { length } = recorder.urls;
  await until('trials', () => recorder.urls.length >= length + 3);
  const count = await publisher.stop();
  await until('all', () => recorder.messages.length >= count);
  expect(numbers(recorder.messages)).toEqual(range(1, count));
  expect(recorder.of('open')).toHaveLength(1);
});

test('an event stream that is dead without being closed is given up, and nothing is lost', async () => {
  const other = await Gateway.start(nats, { heartbeat: { interval: 100, timeout: 60_000 } });
  const frozen = await Relay.start(other.port);
  frozen.noWebSocket = true;
  recorder = record({ url: frozen.url, fallback: ['sse'], heartbeat: { timeoutMs: 500 } });
  recorder.client.subscribe('dead.a', recorder.receive);
  await recorder.live();
  await nats.publish('dead.a', { n: 1 });
  await until('the first', () => recorder.messages.length === 1);
  frozen.frozen = true;
  await nats.publish('dead.a', { n: 2 });
  const silent = () => recorder.of('close').find(({ reason }) => reason === 'the event stream fell silent');
  await until('the end of the line', silent);
  frozen.frozen = false;
  await until('the second', () => recorder.messages.length === 2);
  expect(numbers(recorder.messages)).toEqual([1, 2]);
  frozen.stop();
  await other.stop();
});

test.each(['sse', 'poll'] as const)('%s: last values come to who goes on from a cursor, and to who comes later', async (transport) => {
  await nats.publish('quiet.a', { n: 1 });
  const first = record({ url: relay.url, fallback: [transport] });
  first.client.subscribe('quiet.*', first.receive);
  await first.live();
  const cursor = first.client.cursor;
  first.client.close();
  await nats.publish('quiet.b', { n: 2 });
  recorder = record({ url: relay.url, fallback: [transport], cursor });
  recorder.client.subscribe('quiet.*', recorder.receive, { snapshot: true });
  await until('both', () => recorder.messages.length === 2);
  expect(recorder.messages.map(({ channel, snapshot }) => [channel, snapshot])).toEqual([
    ['quiet.b', undefined],
    ['quiet.a', true],
  ]);
  const late: Message[] = [];
  recorder.client.subscribe('quiet.*', (message) => void late.push(message), { snapshot: true });
  await until('both values', () => late.length === 2);
  await nats.publish('quiet.a', { n: 3 });
  await until('the next', () => late.length === 3 && recorder.messages.length === 3);
  expect([numbers(late).sort(), numbers(recorder.messages)]).toEqual([
    [1, 2, 3],
    [2, 1, 3],
  ]);
});

/** Its second message leans on its first, whatever was agreed on: Safari 15 under another name. */
class Leaning extends WebSocket {
  constructor(url: string, protocols: string[]) {
    super(url, protocols, { perMessageDeflate: { threshold: 0 } });
    this.once('open', () => {
      const { _extensions } = this as unknown as { _extensions: Record<string, { params: Record<string, boolean> }> };
      const { params } = _extensions['permessage-deflate'] as { params: Record<string, boolean> };
      expect(params.client_no_context_takeover).toBe(true);
      params.client_no_context_takeover = false;
    });
  }
}

test('a browser whose commands cannot be inflated goes on without WebSocket, and does not come back to it', async () => {
  relay.noWebSocket = false;
  recorder = record({ url: relay.url, WebSocket: Leaning as never, probeMs: 1 });
  recorder.client.subscribe('line.a', recorder.receive);
  await until(
    'the event stream',
    () => recorder.client.state === 'live' && recorder.client.transport === 'sse',
    () => JSON.stringify(recorder.events.slice(-6)),
  );
  recorder.client.subscribe('line.b', recorder.receive);
  await until('both', () => recorder.client.silent.length === 2);
  await nats.publish('line.b', { n: 1 });
  await until('the message', () => recorder.messages.length === 1);
  expect(recorder.of('close').filter(({ code }) => code === 1007)).toHaveLength(1);
});

test('a browser whose commands cannot be inflated stops where there is nothing but WebSocket', async () => {
  relay.noWebSocket = false;
  recorder = record({ url: relay.url, WebSocket: Leaning as never, fallback: [] });
  recorder.client.subscribe('line.a', recorder.receive);
  await until('the end', () => recorder.client.state === 'refused');
});
