/** From polling to push, with made-up time, a client that the test speaks for, and requests that it answers. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { WsGatewayClient } from '../../src/index.js';
import { type Difference, type Migration, type MigrationOptions, migrate, phaseOf } from '../../src/migrate.js';

type Value = { price: number } | null;

class Puppet {
  state = 'live';
  subscription = { state: 'live', unsubscribe: () => void this.calls.push('unsubscribe') };
  readonly calls: string[] = [];
  readonly #listeners = new Set<() => void>();
  #receive: (message: object) => void = () => {};
  #onState = (): void => {};

  subscribe(channel: string, receive: (message: object) => void, options: { snapshot: boolean; onState: () => void }) {
    this.calls.push(`subscribe ${channel}${options.snapshot ? ' snapshot' : ''}`);
    this.#receive = receive;
    this.#onState = options.onState;
    return this.subscription;
  }

  on(_: string, listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  become(state: string): void {
    this.state = state;
    for (const listener of this.#listeners) listener();
  }

  subscriptionBecomes(state: string): void {
    this.subscription.state = state;
    this.#onState();
  }

  push(price: number | undefined): void {
    if (price === undefined) this.#receive({ deleted: 'Purge' });
    else this.pushData({ price });
  }

  pushData(data: object): void {
    this.#receive({ data });
  }
}

interface Request {
  signal: AbortSignal;
  answer(price: number | null): Promise<unknown>;
  fail(): Promise<unknown>;
}

let client: Puppet;
let requests: Request[];
let shown: string[];
let differences: Difference<Value>[];
let migration: Migration;

function start(phase: MigrationOptions<Value>['phase'], more: Partial<MigrationOptions<Value>> = {}): void {
  migration = migrate<Value>(client as unknown as WsGatewayClient, 'BTC.price', {
    phase,
    poll: (signal) =>
      new Promise((done, refuse) => {
        const settle = (act: () => void) => {
          act();
          return vi.advanceTimersByTimeAsync(0);
        };
        requests.push({
          signal,
          answer: (price) => settle(() => done(price === null ? null : { price })),
          fail: () => settle(() => refuse(new Error('503'))),
        });
      }),
    onValue: (value, from) => void shown.push(`${from} ${value?.price ?? 'none'}`),
    onDifference: (difference) => void differences.push(difference),
    everyMs: 5_000,
    outageMs: 1_000,
    graceMs: 500,
    timeoutMs: 2_000,
    ...more,
  });
}

const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms);
const request = async (): Promise<Request> => {
  await pass(0);
  return requests.at(-1) as Request;
};

beforeEach(() => {
  vi.useFakeTimers();
  vi.spyOn(Math, 'random').mockReturnValue(0.5);
  client = new Puppet();
  [requests, shown, differences] = [[], [], []];
});
afterEach(async () => {
  migration.stop();
  await pass(0);
  expect(vi.getTimerCount()).toBe(0);
  vi.restoreAllMocks();
  vi.useRealTimers();
});

test('in phase poll nothing is subscribed to, and one request follows the other', async () => {
  start('poll');
  await (await request()).answer(1);
  await pass(4_999);
  expect(requests).toHaveLength(1);
  await pass(1);
  expect(requests).toHaveLength(2);
  await requests[1]?.answer(2);
  expect([client.calls, shown]).toEqual([[], ['poll 1', 'poll 2']]);
});

test('in phase shadow polled values are shown and pushed ones only compared', async () => {
  start('shadow');
  client.push(1);
  await (await request()).answer(1);
  await pass(5_000);
  client.push(2);
  client.push(3);
  // True in between: what push had when the request was sent, and all since.
  await (await request()).answer(2);
  expect(client.calls).toEqual(['subscribe BTC.price snapshot']);
  expect(shown).toEqual(['poll 1', 'poll 2']);
  expect(migration.stats).toMatchObject({ polls: 2, pushes: 3, same: 2, late: 0, differences: 0, skipped: 0 });
});

test('a value that push brings a little later is the same, one that it never brings is a difference', async () => {
  start('shadow');
  client.push(1);
  await (await request()).answer(2);
  await pass(499);
  client.push(2);
  expect(migration.stats).toMatchObject({ same: 1, late: 1, differences: 0 });
  await pass(5_000);
  await (await request()).answer(7);
  await pass(499);
  expect(differences).toEqual([]);
  await pass(1);
  expect(differences).toEqual([{ channel: 'BTC.price', polled: { price: 7 }, pushed: { price: 2 } }]);
  expect(migration.stats.differences).toBe(1);
});

test('push may be slower than polling is frequent', async () => {
  start('shadow', { everyMs: 100, graceMs: 1_000 });
  client.push(0);
  for (let n = 1; n <= 5; n++) {
    await (await request()).answer(n);
    await pass(100);
  }
  for (let n = 1; n <= 5; n++) client.push(n);
  expect(migration.stats).toMatchObject({ same: 5, late: 5, differences: 0 });
});

test('as many answers as may wait for push do, and the oldest is given up for one more', async () => {
  start('shadow', { everyMs: 10, graceMs: 60_000 });
  client.push(0);
  for (let n = 1; n <= 18; n++) {
    await (await request()).answer(n);
    await pass(10);
  }
  expect(differences.map(({ polled }) => polled?.price)).toEqual([1, 2]);
});

test('a channel that brings nothing differs, and a deleted value is as good as null', async () => {
  start('shadow');
  await (await request()).answer(1);
  await pass(500);
  expect(differences).toEqual([{ channel: 'BTC.price', polled: { price: 1 }, pushed: undefined }]);
  client.push(undefined);
  await pass(5_000);
  await (await request()).answer(null);
  expect(migration.stats).toMatchObject({ same: 1, differences: 1 });
});

test('without a connection nothing is compared', async () => {
  start('shadow');
  client.push(1);
  client.become('reconnecting');
  await (await request()).answer(2);
  await pass(5_000);
  client.become('live');
  await (await request()).answer(2);
  client.push(2);
  expect(migration.stats).toMatchObject({ polls: 2, skipped: 2, differences: 0 });
});

test('what is the same can be told, and is otherwise equal as JSON', async () => {
  start('shadow', { same: (polled, pushed) => Math.round(polled?.price ?? 0) === pushed?.price });
  client.push(3);
  await (await request()).answer(2.6);
  expect(migration.stats.same).toBe(1);
  migration.stop();
  const seen: unknown[] = [];
  migration = migrate<object>(client as unknown as WsGatewayClient, 'a', {
    phase: 'shadow',
    poll: async () => answers[migration.stats.polls] as object,
    onValue: () => {},
    onDifference: ({ polled }) => void seen.push(polled),
    everyMs: 10_000,
  });
  // The order of keys does not count, that of a list does.
  const answers = [{ b: null, a: [1, { c: 2 }] }, { b: null, a: [{ c: 2 }, 1] }, { b: null }, [null], null];
  client.pushData({ a: [1, { c: 2 }], b: null });
  await pass(answers.length * 10_000 - 1);
  expect([migration.stats.same, seen]).toEqual([1, answers.slice(1)]);
});

test('in phase push there is no request while push works', async () => {
  start('push');
  client.push(1);
  client.push(undefined);
  await pass(600_000);
  expect([requests, shown, migration.isPolling]).toEqual([[], ['push 1', 'push none'], false]);
});

test('during an outage it polls, from a random moment on, until push is back', async () => {
  start('push');
  client.push(1);
  client.become('reconnecting');
  await pass(900);
  client.become('live');
  client.become('offline');
  await pass(999);
  expect(migration.isPolling).toBe(false);
  await pass(1);
  expect(migration.isPolling).toBe(true);
  await pass(2_499);
  expect(requests).toHaveLength(0);
  await pass(1);
  await requests[0]?.answer(2);
  await pass(5_000);
  expect(requests).toHaveLength(2);
  client.become('live');
  expect([migration.isPolling, requests[1]?.signal.aborted]).toEqual([false, true]);
  await requests[1]?.answer(3);
  client.push(4);
  await pass(60_000);
  expect([shown, requests.length, migration.stats.outages]).toEqual([['push 1', 'poll 2', 'push 4'], 2, 1]);
});

test('a gateway that is down from the start, and a channel that is refused, are outages, too', async () => {
  client.state = 'connecting';
  start('push');
  await pass(3_500);
  await requests[0]?.answer(1);
  client.become('live');
  expect(migration.isPolling).toBe(false);
  client.subscriptionBecomes('rejected');
  await pass(3_500);
  await requests[1]?.answer(2);
  expect([shown, migration.stats.outages]).toEqual([['poll 1', 'poll 2'], 2]);
});

test('an answer that push has overtaken is not shown', async () => {
  client.state = 'connecting';
  start('push');
  await pass(3_500);
  client.push(2);
  await requests[0]?.answer(1);
  expect(shown).toEqual(['push 2']);
});

test('a request that hangs is given up, and those that fail become fewer', async () => {
  start('poll');
  await pass(2_000);
  expect([requests[0]?.signal.aborted, migration.stats.failures]).toEqual([true, 1]);
  const waits: number[] = [];
  for (let n = 1; n < 6; n++) {
    let waited = 0;
    for (; requests.length === n; waited += 1_000) await pass(1_000);
    waits.push(waited / 5_000);
    await requests[n]?.fail();
  }
  expect(waits).toEqual([2, 4, 8, 8, 8]);
});

test('it goes forward, and back, without a moment with neither', async () => {
  start('poll');
  await (await request()).answer(1);
  client.state = 'connecting';
  migration.setPhase('push');
  expect(migration.isPolling).toBe(true);
  client.become('live');
  expect(migration.isPolling).toBe(false);
  migration.setPhase('shadow');
  await (await request()).answer(2);
  expect(client.calls).toEqual(['subscribe BTC.price snapshot']);
  migration.setPhase('poll');
  expect(client.calls).toEqual(['subscribe BTC.price snapshot', 'unsubscribe']);
  expect([migration.phase, migration.isPolling]).toEqual(['poll', true]);
  migration.stop();
  migration.setPhase('push');
  await pass(60_000);
  expect([client.calls.length, requests.length]).toEqual([2, 2]);
});

test('shares of users are as large as they say, and whoever is in stays in while they grow', () => {
  start('push');
  const users = Array.from({ length: 20_000 }, (_, n) => `user-${n}`);
  const share = (push: number, phase: string, salt = '') =>
    users.filter((user) => phaseOf(user, { push, shadow: 20 }, salt) === phase).length / 200;
  for (const push of [1, 10, 50]) expect(Math.abs(share(push, 'push') - push)).toBeLessThan(1.5);
  expect(Math.abs(share(10, 'shadow') - 20)).toBeLessThan(1.5);
  expect([share(0, 'push'), share(100, 'push')]).toEqual([0, 100]);
  for (const user of users) {
    if (phaseOf(user, { push: 10 }) === 'push') expect(phaseOf(user, { push: 11 })).toBe('push');
  }
  // Another salt, other users first.
  const both = users.filter((user) => phaseOf(user, { push: 10 }, 'a') === 'push' && phaseOf(user, { push: 10 }, 'b') === 'push');
  expect(both.length / 200).toBeLessThan(2);
});
