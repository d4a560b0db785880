/** From polling to push, on a real gateway and next to a real HTTP server that was polled. */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { type Difference, type Migration, type MigrationOptions, migrate } from '../../src/migrate.js';
import { type Recorder, record } from '../support/recorder.js';
import { Gateway, Nats } from '../support/servers.js';
import { until } from '../support/until.js';

interface Token {
  id: string;
  price: number;
}

let nats: Nats;
let gateway: Gateway;
let site: Server;
let recorder: Recorder;
let migration: Migration;
/** What the site answers, and how often it was asked. */
let token: Token;
let requests = 0;
let shown: string[] = [];
let differences: Difference<Token>[] = [];

beforeAll(async () => {
  nats = await Nats.start();
  gateway = await Gateway.start(nats);
  site = createServer((_, response) => {
    requests += 1;
    response.setHeader('content-type', 'application/json').end(JSON.stringify(token));
  });
  await new Promise<void>((done) => site.listen(0, '127.0.0.1', done));
});
afterEach(() => {
  migration.stop();
  recorder.client.close();
  [shown, differences, requests] = [[], [], 0];
});
afterAll(async () => {
  site.close();
  await gateway.stop();
  await nats.stop();
});

function start(channel: string, phase: MigrationOptions<Token>['phase'], more: Partial<MigrationOptions<Token>> = {}): void {
  recorder = record({ url: gateway.url });
  const url = `http://127.0.0.1:${(site.address() as AddressInfo).port}/api/tokens/BTC`;
  migration = migrate<Token>(recorder.client, channel, {
    phase,
    poll: (signal) => fetch(url, { signal }).then((response) => response.json() as Promise<Token>),
    onValue: (value, from) => void shown.push(`${from} ${value?.price}`),
    onDifference: (difference) => void differences.push(difference),
    everyMs: 5,
    outageMs: 20,
    graceMs: 60_000,
    ...more,
  });
}

/** As the backend does after a trade: into its database, and to NATS. */
async function trade(channel: string, price: number): Promise<void> {
  token = { id: 'BTC', price };
  await nats.publish(channel, { price, id: 'BTC' });
}

test('side by side, the old way and the new one say the same while prices change', async () => {
  await trade('shadow.a', 0);
  start('shadow.a', 'shadow', { everyMs: 50 });
  await until('the first comparison', () => migration.stats.same > 0);
  for (let n = 1; n <= 1000; n++) await trade('shadow.a', n);
  await until('the last price', () => shown.at(-1) === 'poll 1000');
  await until('all that was pushed', () => migration.stats.pushes === 1001);
  const { same } = migration.stats;
  await until('more comparisons', () => migration.stats.same >= same + 3);
  expect([migration.stats.differences, differences]).toEqual([0, []]);
  expect(shown.filter((line) => line.startsWith('push'))).toEqual([]);
});

test('a backend that forgets to publish is a difference that says what is missing', async () => {
  await trade('shadow.b', 1);
  start('shadow.b', 'shadow', { graceMs: 1 });
  await until('the first comparison', () => migration.stats.same > 0);
  token = { id: 'BTC', price: 2 };
  await until('a difference', () => differences.length > 0);
  expect(differences[0]).toEqual({ channel: 'shadow.b', polled: { id: 'BTC', price: 2 }, pushed: { id: 'BTC', price: 1 } });
});

test('pushed to, a page polls while the gateway is down, and only then', async () => {
  await trade('push.a', 1);
  start('push.a', 'push');
  await until('the pushed price', () => shown.at(-1) === 'push 1' && !migration.isPolling);
  await gateway.end('SIGKILL');
  await trade('push.a', 2);
  await until('the polled price', () => shown.at(-1) === 'poll 2');
  await gateway.launch();
  await until('push again', () => !migration.isPolling);
  const asked = requests;
  await trade('push.a', 3);
  await until('the next pushed price', () => shown.at(-1) === 'push 3');
  expect(requests).toBe(asked);
});

test('a rollback in the middle of the day polls again, and gives the subscription up', async () => {
  await trade('back.a', 1);
  start('back.a', 'push');
  await until('the pushed price', () => shown.at(-1) === 'push 1');
  migration.setPhase('poll');
  await until('the polled price', () => shown.at(-1) === 'poll 1');
  await until('the end of the subscription', () => recorder.sent.some(({ type }) => type === 'unsubscribe'));
});
