import { afterEach, expect, test } from 'vitest';
import { withServers } from '../support/fixture.js';
import { numbers, type Recorder, range, record } from '../support/recorder.js';
import { Gateway, type Nats } from '../support/servers.js';
import { until } from '../support/until.js';

let nats: Nats;
let gateway: Gateway;
let recorder: Recorder;

withServers('all', (servers) => ({ nats, gateway } = servers));
afterEach(() => recorder.client.close());

test('messages of a channel come in order, with their offsets and their data', async () => {
  recorder = record({ url: gateway.url });
  recorder.client.subscribe('order.a', recorder.receive);
  await recorder.live();
  const offsets: number[] = [];
  for (const n of range(1, 50)) offsets.push(await nats.publish('order.a', { n }));
  await until('50 messages', () => recorder.messages.length === 50);
  expect(numbers(recorder.messages)).toEqual(range(1, 50));
  expect(recorder.messages.map(({ offset }) => offset)).toEqual(offsets);
  expect(recorder.messages[0]).toMatchObject({ channel: 'order.a', prev: 0, ts: expect.any(Number) });
  expect(recorder.client.cursor).toEqual({ epoch: expect.any(String), offset: offsets.at(-1) });
});

test('a message goes once to each subscription that one of its patterns matches', async () => {
  recorder = record({ url: gateway.url });
  const { client } = recorder;
  const got: Record<string, string[]> = { exact: [], star: [], rest: [], both: [] };
  const into = (name: string) => (message: { channel: string }) => void got[name]?.push(message.channel);
  client.subscribe('once.a.price', into('exact'));
  client.subscribe('once.*.price', into('star'));
  client.subscribe('once.>', into('rest'));
  client.subscribe(['once.a.price', 'once.a.*'], into('both'));
  await recorder.live();
  for (const channel of ['once.a.price', 'once.b.price', 'once.b.trade.x']) await nats.publish(channel, {});
  await until('the last', () => got.rest?.length === 3);
  expect(got).toEqual({
    exact: ['once.a.price'],
    star: ['once.a.price', 'once.b.price'],
    rest: ['once.a.price', 'once.b.price', 'once.b.trade.x'],
    both: ['once.a.price'],
  });
  expect(recorder.of('gap')).toEqual([]);
});

test('subscriptions of one turn are one command, and of one channel one on the wire', async () => {
  recorder = record({ url: gateway.url });
  const { client, sent } = recorder;
  const first = client.subscribe(['count.a', 'count.b'], () => {});
  const second = client.subscribe('count.a', recorder.receive);
  await recorder.live();
  const commands = () => sent.filter(({ type }) => type !== 'ping');
  expect(commands()).toMatchObject([{ type: 'subscribe', channels: ['count.a', 'count.b'] }]);
  first.unsubscribe();
  await nats.publish('count.a', { n: 1 });
  await until('the message and the command', () => recorder.messages.length === 1 && commands().length === 2);
  expect(commands().slice(1)).toMatchObject([{ type: 'unsubscribe', channels: ['count.b'] }]);
  second.unsubscribe();
  await until('the second command', () => commands().length === 3);
  expect(commands().slice(2)).toMatchObject([{ type: 'unsubscribe', channels: ['count.a'] }]);
});

test('a subscription that ends and begins in one turn does not reach the wire', async () => {
  recorder = record({ url: gateway.url });
  recorder.client.subscribe('strict', () => {}).unsubscribe();
  recorder.client.subscribe('strict', recorder.receive);
  await recorder.live();
  const again = recorder.client.subscribe('strict', () => {});
  again.unsubscribe();
  await nats.publish('strict', { n: 1 });
  await until('the message', () => recorder.messages.length === 1);
  expect(recorder.sent.filter(({ type }) => type !== 'ping')).toHaveLength(1);
});

test('a channel that is given up and wanted again while its answer is on the way is received', async () => {
  recorder = record({ url: gateway.url });
  await recorder.live();
  const first = recorder.client.subscribe('flicker', () => {});
  await Promise.resolve();
  first.unsubscribe();
  await Promise.resolve();
  recorder.client.subscribe('flicker', recorder.receive);
  await until('the answer', () => recorder.of('subscribed').length === 1);
  await nats.publish('flicker', { n: 1 });
  await until('the message', () => recorder.messages.length === 1);
});

test('a payload that is not JSON comes as bytes', async () => {
  recorder = record({ url: gateway.url });
  recorder.client.subscribe('bytes.*', recorder.receive);
  await recorder.live();
  const bytes = Uint8Array.from({ length: 256 }, (_, i) => i);
  await nats.publish('bytes.a', bytes);
  await nats.publish('bytes.b', new Uint8Array());
  await until('both', () => recorder.messages.length === 2);
  expect(recorder.messages[0]).toMatchObject({ encoding: 'base64', data: bytes });
  expect(recorder.messages[1]?.data).toEqual(new Uint8Array());
});

test('what is due together comes in one frame, and is taken apart', async () => {
  const other = await Gateway.start(nats, { channels: { stripPrefix: 'p.', rules: [{ match: 'held.>', batchWindow: 200 }] } });
  recorder = record({ url: other.url });
  recorder.client.subscribe('held.>', recorder.receive);
  await recorder.live();
  await Promise.all(range(1, 40).map((n) => nats.publish('held.a', { n })));
  await until('40 messages', () => recorder.messages.length === 40);
  expect(numbers(recorder.messages)).toEqual(range(1, 40));
  expect(recorder.of('gap')).toEqual([]);
  await other.stop();
});

test('channels beyond the limit are reported, and the others work', async () => {
  recorder = record({ url: gateway.url });
  const channels = range(1, 130).map((n) => `many.${n}`);
  recorder.client.subscribe(channels, recorder.receive);
  recorder.client.subscribe('bad..channel', recorder.receive);
  await recorder.live();
  const rejected = recorder.of('rejected').map(({ channel, code }) => `${channel}: ${code}`);
  expect(rejected).toContain('many.130: too_many_subscriptions');
  expect(rejected.some((one) => one.startsWith('bad..channel: '))).toBe(true);
  await nats.publish('many.130', { n: 130 });
  await nats.publish('many.1', { n: 1 });
  await until('the message', () => recorder.messages.length > 0);
  expect(numbers(recorder.messages)).toEqual([1]);
});

test('a handler that throws harms no other', async () => {
  recorder = record({ url: gateway.url });
  const uncaught: unknown[] = [];
  const listeners = process.listeners('uncaughtException');
  process.removeAllListeners('uncaughtException').on('uncaughtException', (error) => void uncaught.push(error));
  try {
    recorder.client.subscribe('throws', () => {
      throw new Error('of the application');
    });
    recorder.client.subscribe('throws', recorder.receive);
    await recorder.live();
    await nats.publish('throws', { n: 1 });
    await nats.publish('throws', { n: 2 });
    await until('both messages and both errors', () => recorder.messages.length === 2 && uncaught.length === 2);
  } finally {
    process.removeAllListeners('uncaughtException');
    for (const listener of listeners) process.on('uncaughtException', listener);
  }
});

test('a list that is scrolled, with hundreds of rows that come and go, keeps to the limit of commands', async () => {
  recorder = record({ url: gateway.url });
  await nats.publish('row.500', { n: 500 });
  await recorder.live();
  for (const n of range(1, 500)) {
    const row = recorder.client.subscribe(`row.${n}`, recorder.receive, { snapshot: true });
    await new Promise((done) => setTimeout(done, 4));
    if (n < 480) row.unsubscribe();
  }
  await until('the last row', () => recorder.messages.length > 0);
  expect(numbers(recorder.messages)).toEqual([500]);
  expect([recorder.of('close'), recorder.of('rejected')]).toEqual([[], []]);
});
