/** Messages in the cache of the real @tanstack/query-core, from a real gateway. */
import { QueryClient, QueryObserver, experimental_streamedQuery as streamedQuery } from '@tanstack/query-core';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { iterate } from '../../src/iterate.js';
import { live, syncQueries } from '../../src/tanstack.js';
import { withServers } from '../support/fixture.js';
import { type Recorder, record } from '../support/recorder.js';
import { type Gateway, type Nats, STREAM } from '../support/servers.js';
import { until } from '../support/until.js';

let nats: Nats;
let gateway: Gateway;
let recorder: Recorder;
let queries: QueryClient;
let stop: () => void;

withServers('all', (servers) => ({ nats, gateway } = servers));
beforeEach(async () => {
  recorder = record({ url: gateway.url });
  queries = new QueryClient({ defaultOptions: { queries: { staleTime: Number.POSITIVE_INFINITY, retry: false } } });
  queries.mount();
  stop = syncQueries(recorder.client, queries);
  await recorder.live();
});
afterEach(() => {
  stop();
  queries.clear();
  queries.unmount();
  recorder.client.close();
});

const shows = (key: unknown[], value: unknown) =>
  until(
    JSON.stringify(value),
    () => JSON.stringify(queries.getQueryData(key)) === JSON.stringify(value),
    () => JSON.stringify(queries.getQueryData(key)),
  );
const subscriptions = () => gateway.metric('wsgateway_subscriptions');

test('a query is filled by the last value, without a request, and follows the messages', async () => {
  await nats.publish('one.price', { n: 1 });
  const observer = new QueryObserver(queries, { queryKey: ['one'], enabled: false, ...live('one.price') });
  const end = observer.subscribe(() => {});
  await shows(['one'], { n: 1 });
  await nats.publish('one.price', { n: 2 });
  await shows(['one'], { n: 2 });
  expect(observer.getCurrentResult()).toMatchObject({ data: { n: 2 }, status: 'success', fetchStatus: 'idle' });
  end();
});

test('a channel is subscribed to while its query is shown, once for all that show it', async () => {
  const options = { queryKey: ['shown'], queryFn: () => ({ n: 0 }), ...live('shown.price') };
  const ends = [1, 2].map(() => new QueryObserver(queries, options).subscribe(() => {}));
  await until('a subscription', async () => (await subscriptions()) === 1);
  ends[0]?.();
  await nats.publish('shown.price', { n: 1 });
  await shows(['shown'], { n: 1 });
  ends[1]?.();
  await until('no subscription', async () => (await subscriptions()) === 0);
});

test('a message during a request is not undone by its answer', async () => {
  let answer = (_: object): void => {};
  const queryFn = () => new Promise<object>((done) => (answer = done));
  const end = new QueryObserver(queries, { queryKey: ['race'], queryFn, ...live('race.price') }).subscribe(() => {});
  await until('a subscription', async () => (await subscriptions()) === 1);
  await nats.publish('race.price', { n: 2 });
  await shows(['race'], { n: 2 });
  answer({ n: 1 });
  await until('the end of the request', () => queries.isFetching() === 0);
  await shows(['race'], { n: 2 });
  end();
});

test('what is more than a last value is fetched once messages come, and they are added to it', async () => {
  interface Trade {
    n: number;
  }
  const stored = [1, 2];
  let requests = 0;
  const queryFn = (): number[] => {
    requests += 1;
    return [...stored];
  };
  const reduce = (trades: number[] | undefined, { data }: { data?: Trade | undefined }) =>
    data && !trades?.includes(data.n) ? [...(trades ?? []), data.n] : trades;
  const options = { queryKey: ['trades'], queryFn, ...live<Trade, number[]>('list.trade', { reduce, snapshot: false }) };
  const end = new QueryObserver(queries, options).subscribe(() => {});
  await until('a second request, after the acknowledgement', () => requests === 2);
  await nats.publish('list.trade', { n: 3 });
  await shows(['trades'], [1, 2, 3]);
  end();
});

test('a gap makes the query be fetched again; skipped values of a slow client do not', async () => {
  let requests = 0;
  const queryFn = () => ({ requests: ++requests });
  const end = new QueryObserver(queries, { queryKey: ['gap'], queryFn, ...live('gap.price') }).subscribe(() => {});
  await until('a subscription', async () => (await subscriptions()) === 1);
  expect(requests).toBe(1);
  // The stream loses what came while there was no connection.
  await nats.publish('gap.price', { n: 1 });
  await shows(['gap'], { n: 1 });
  recorder.client.close();
  await nats.publish('gap.price', { n: 2 });
  await nats.publish('gap.price', { n: 3 });
  await nats.client.api(`STREAM.PURGE.${STREAM}`, {});
  await gateway.end('SIGKILL');
  await gateway.launch();
  recorder.client.connect();
  await until('another request', () => requests === 2);
  expect(recorder.of('gap').length).toBeGreaterThan(0);
  end();
});

test('a streamed query takes messages from a loop, and its end ends the subscription', async () => {
  const streamFn = ({ signal }: { signal: AbortSignal }) =>
    iterate<Record<string, { n: number }>, string>(recorder.client as never, 'loop.*', { signal });
  const observer = new QueryObserver(queries, { queryKey: ['loop'], queryFn: streamedQuery({ streamFn }) });
  const end = observer.subscribe(() => {});
  await until('a subscription', async () => (await subscriptions()) === 1);
  for (const n of [1, 2]) await nats.publish('loop.a', { n });
  await until(
    'two messages',
    () =>
      queries
        .getQueryData<{ data: { n: number } }[]>(['loop'])
        ?.map(({ data }) => data.n)
        .join() === '1,2',
  );
  end();
  await until('no subscription', async () => (await subscriptions()) === 0);
});
