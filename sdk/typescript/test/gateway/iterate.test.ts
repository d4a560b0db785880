/** Messages as an async iterator, on a real gateway. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { iterate, ReaderTooSlow } from '../../src/iterate.js';
import { withServers } from '../support/fixture.js';
import { type Recorder, range, record } from '../support/recorder.js';
import type { Gateway, Nats } from '../support/servers.js';
import { until } from '../support/until.js';

let nats: Nats;
let gateway: Gateway;
let recorder: Recorder;

withServers('each', (servers) => ({ nats, gateway } = servers));
beforeEach(() => {
  recorder = record({ url: gateway.url });
});
afterEach(() => recorder.client.close());

const publish = async (from: number, to: number) => {
  for (const n of range(from, to)) await nats.publish('loop.a', { n });
};
const acknowledged = () => until('the subscription', () => recorder.of('subscribed').length > 0);

test('a loop gets every message in order, and its end gives the channel up', async () => {
  const got: unknown[] = [];
  const loop = (async () => {
    for await (const { data } of iterate(recorder.client, 'loop.a')) if (got.push((data as { n: number }).n) === 50) break;
  })();
  await acknowledged();
  await publish(1, 60);
  await loop;
  expect(got).toEqual(range(1, 50));
  await until('the end of the subscription', () => recorder.sent.some(({ type }) => type === 'unsubscribe'));
});

test('a signal ends a loop that waits', async () => {
  const abort = new AbortController();
  const got: unknown[] = [];
  const loop = (async () => {
    for await (const message of iterate(recorder.client, 'loop.a', { signal: abort.signal })) got.push(message);
  })();
  await acknowledged();
  abort.abort();
  await loop;
  expect(got).toEqual([]);
});

test('a reader that is too slow is told, after what was kept for it', async () => {
  const got: unknown[] = [];
  let read = (): void => {};
  const mayRead = new Promise<void>((done) => {
    read = done;
  });
  const loop = (async () => {
    for await (const { data } of iterate(recorder.client, 'loop.a', { limit: 10 })) {
      await mayRead;
      got.push((data as { n: number }).n);
    }
  })();
  const failed = expect(loop).rejects.toThrow(ReaderTooSlow);
  await acknowledged();
  recorder.client.subscribe('loop.a', recorder.receive);
  await publish(1, 30);
  await until('all', () => recorder.messages.length === 30);
  read();
  await failed;
  expect(got).toEqual(range(1, got.length));
  expect(got.length).toBeGreaterThanOrEqual(10);
});
