/** What users run, where they run it: the built bundle and the React hooks in a real browser, on a real gateway. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { build } from 'vite';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import type { Site } from '../support/browser.js';
import { withBrowser, withServers } from '../support/fixture.js';
import { throughAKill } from '../support/outage.js';
import { Publisher } from '../support/publisher.js';
import { range } from '../support/recorder.js';
import { Relay } from '../support/relay.js';
import { Gateway, type Nats } from '../support/servers.js';
import { until } from '../support/until.js';

const here = import.meta.dirname;
const bundle = mkdtempSync(join(tmpdir(), 'wsgateway-app-'));
let nats: Nats;
let gateway: Gateway;
let browser: Browser;
let site: Site;
let page: Page;
let errors: string[];

const PLAIN = `<!doctype html><script type="module">
  import { createClient } from '/wsgateway.js';
  const options = { url: new URLSearchParams(location.search).get('gateway'), backoff: { baseMs: 50, capMs: 200 }, probeMs: 300 };
  const client = window.client = createClient({ ...options, lazy: true });
  const seen = window.seen = { numbers: [], events: [] };
  for (const type of ['state', 'open', 'close', 'gap', 'duplicate', 'subscribed', 'error']) client.on(type, (event) => seen.events.push(event));
  client.subscribe('plain.*', ({ data }) => seen.numbers.push(data.n));
  client.connect();
</script>`;

withServers('all', (servers) => ({ nats, gateway } = servers));
withBrowser(
  {
    '/plain.html': PLAIN,
    '/api/tokens/A': '{"price":7}',
    '/app.html': '<!doctype html><link rel="icon" href="data:,"><div id="root"></div><script type="module" src="/app.js"></script>',
  },
  (opened) => ({ browser, site } = opened),
  [bundle],
);
beforeAll(async () => {
  await build({
    root: here,
    configFile: false,
    logLevel: 'warn',
    build: { outDir: bundle, emptyOutDir: true, minify: false, lib: { entry: 'app.tsx', formats: ['es'], fileName: () => 'app.js' } },
    define: { 'process.env.NODE_ENV': '"development"' },
  });
});
afterEach(() => page.close());
afterAll(() => rmSync(bundle, { recursive: true }));

async function open(name: string, url = gateway.url): Promise<void> {
  page = await browser.newPage();
  errors = [];
  page.on('pageerror', (error) => errors.push(String(error)));
  page.on('console', (line) => line.type() === 'error' && errors.push(line.text()));
  await page.goto(`${site.url}${name}.html?gateway=${encodeURIComponent(url)}`);
}

/** An expression of the page is true, soon. */
const holds = (expression: string) =>
  until(
    expression,
    () => page.evaluate(`Boolean(${expression})`),
    () => errors.slice(-5).join('\n'),
  );
let text = '';
const shows = async (id: string, part: string) => {
  const element = `document.getElementById('${id}')?.textContent`;
  await until(
    `${id} to show ${part}`,
    async () => {
      text = String(await page.evaluate(element));
      return text.includes(part);
    },
    () => [`it shows ${text}`, ...errors.slice(-5)].join('\n'),
  );
};

test('a page goes on where it was when its gateway is killed and comes back', async () => {
  await open('plain');
  await holds("client.state === 'live'");
  const count = await throughAKill(gateway, new Publisher(nats, 'plain.a'), holds);
  await holds(`seen.numbers.length >= ${count}`);
  expect(await page.evaluate('seen.numbers')).toEqual(range(1, count));
  expect(await page.evaluate("seen.events.filter(({ type }) => ['gap', 'duplicate'].includes(type))")).toEqual([]);
});

test('a page that is offline waits, and is back at once with everything when it is online', async () => {
  await open('plain');
  await holds("client.state === 'live'");
  await page.context().setOffline(true);
  await gateway.end('SIGKILL');
  await holds("client.state === 'offline'");
  await gateway.launch();
  for (const n of [1, 2, 3]) await nats.publish('plain.offline', { n });
  const attempts = () => page.evaluate("seen.events.filter(({ state }) => state === 'connecting').length");
  expect(await attempts()).toBe(1);
  await page.context().setOffline(false);
  await holds('seen.numbers.length === 3');
  expect(await attempts()).toBe(2);
});

test('a page that can be seen again asks its line for a sign of life', async () => {
  await open('plain');
  await holds("client.state === 'live'");
  await page.evaluate(`(() => {
    window.pongs = 0;
    client.on('pong', () => (window.pongs += 1));
    document.dispatchEvent(new Event('visibilitychange'));
  })()`);
  await holds('pongs > 0');
});

test('hooks render what comes, survive a restart, and give up what nobody shows any more', async () => {
  await nats.publish('a.price', { price: 100 });
  await nats.publish('b.price', { price: 200 });
  await open('app');
  await shows('first', '100 snapshot gaps 0');
  await shows('second', '100 snapshot gaps 0');
  await shows('nothing', 'none');
  await shows('refused', 'invalid');
  await shows('connection', 'live websocket gaps 0 reconnects 0 measured');
  await nats.publish('a.price', { price: 101 });
  await shows('first', '101  gaps 0');

  await page.click('#switch');
  await shows('first', '200 snapshot');
  await page.click('#switch');
  await shows('first', '101');

  const subscriptions = async () =>
    ((await (await fetch(`${gateway.url.replace('ws:', 'http:').replace('/ws', '')}/stats`)).json()) as { subscriptions: number })
      .subscriptions;
  await until('one subscription less', async () => (await subscriptions()) === 3);

  await gateway.end('SIGKILL');
  await shows('connection', 'reconnecting');
  await nats.publish('a.trade', { price: 7 });
  await nats.publish('a.price', { price: 102 });
  await gateway.launch();
  await shows('second', '102  gaps 0');
  await shows('trades', '7');
  await shows('connection', 'live');
  await shows('connection', 'gaps 0');
  // Browsers report what cannot be connected to.
  expect(errors.filter((error) => !/WebSocket connection to|Failed to load resource/.test(error))).toEqual([]);
});

const transports = () => page.evaluate("seen.events.filter(({ type }) => type === 'open').map(({ transport }) => transport)");

test('a page that finds no place in a gateway of another origin waits for one with WebSocket', async () => {
  const small = await Gateway.start(nats, { capacity: { connections: 1 } });
  const place = new WebSocket(small.url);
  await new Promise((done) => place.once('message', done));
  await open('plain', small.url);
  await holds("seen.events.filter(({ type }) => type === 'close').length >= 10");
  place.close();
  await holds("client.state === 'live'");
  expect(await transports()).toEqual(['websocket']);
  await small.stop();
});

test('a page in a network without WebSocket gets everything by an event stream, and is back on WebSocket when that works', async () => {
  const relay = await Relay.start(gateway.port);
  relay.noWebSocket = true;
  await open('plain', relay.url);
  await holds("client.state === 'live'");
  expect(await transports()).toEqual(['sse']);
  const publisher = new Publisher(nats, 'plain.b');
  await holds('seen.numbers.length > 20');
  relay.noWebSocket = false;
  await holds("client.state === 'live' && client.transport === 'websocket'");
  const count = await publisher.stop();
  await holds(`seen.numbers.length >= ${count}`);
  expect(await page.evaluate('seen.numbers')).toEqual(range(1, count));
  expect(await page.evaluate("seen.events.filter(({ type }) => ['gap', 'duplicate'].includes(type))")).toEqual([]);
  expect(await transports()).toEqual(['sse', 'websocket']);
  relay.stop();
});

test('a page behind a proxy that swallows upgrades gets everything at the first attempt, and remembers how over a reload', async () => {
  const relay = await Relay.start(gateway.port);
  relay.swallowsWebSocket = true;
  await open('plain', relay.url);
  const nothingEnded = "!seen.events.some(({ type }) => type === 'close')";
  const publisher = new Publisher(nats, 'plain.swallowed');
  await holds('seen.numbers.length > 20');
  expect([await transports(), await page.evaluate(nothingEnded)]).toEqual([['sse'], true]);
  await page.reload();
  let sockets = 0;
  page.on('websocket', () => {
    sockets += 1;
  });
  await holds('seen.numbers.length > 20');
  expect([await transports(), await page.evaluate(nothingEnded)]).toEqual([['sse'], true]);
  // Trials hang next to the stream, which goes on; the first that opens is used.
  await until('a trial', () => sockets > 0);
  const { length } = (await page.evaluate('seen.numbers')) as number[];
  await holds(`seen.numbers.length > ${length + 20}`);
  relay.swallowsWebSocket = false;
  relay.cutUnanswered();
  await holds("client.state === 'live' && client.transport === 'websocket'");
  await publisher.stop();
  expect(await page.evaluate(nothingEnded)).toBe(true);
  const seen = (await page.evaluate('seen.numbers')) as number[];
  expect(seen).toEqual(range(seen[0] ?? 0, (seen[0] ?? 0) + seen.length - 1));
  relay.stop();
});

test('a page of another origin with a wrong path is told so', async () => {
  await open('plain', gateway.url.replace(/ws$/, 'wrong'));
  await holds("seen.events.some(({ type, code }) => type === 'error' && code === 'not_found')");
  expect(await transports()).toEqual([]);
});

test('a gap that is told for a pattern counts for the channels that belong to it', async () => {
  await open('app');
  await shows('puppet', 'gaps 0');
  await page.evaluate("['*.price', 'b.*', '*.trade', 'a.price', '>'].forEach(tellGap)");
  await shows('puppet', 'gaps 3');
});

test('a value that is deleted is gone from the page, with the reason in its place', async () => {
  await open('app');
  await shows('puppet', 'none');
  await page.evaluate('bring({ offset: 7, data: { price: 300 } })');
  await shows('puppet', '300');
  await page.evaluate("bring({ offset: 9, prev: 7, deleted: 'Purge' })");
  await shows('puppet', 'Purge');
  await page.evaluate('bring({ offset: 10, prev: 9, data: { price: 301 } })');
  await shows('puppet', '301');
});

test('a burst is rendered once per frame, at most so often as is wanted, and only when what is selected changes', async () => {
  await open('app');
  await shows('puppet', 'none');
  await page.evaluate('bring({ offset: 7, data: { price: 5 } })');
  for (const id of ['puppet', 'each', 'slow', 'whole']) await shows(id, '5');
  await page.evaluate('Object.keys(renders).forEach((id) => (renders[id] = 0))');
  await page.evaluate('bringMany(500)');
  await shows('puppet', '5.5');
  const { puppet, each, slow, whole } = (await page.evaluate('renders')) as Record<string, number>;
  expect(each).toBeGreaterThan(400);
  expect(puppet).toBeLessThan(200);
  expect([slow, whole]).toEqual([0, 0]);
  await page.evaluate('bring({ offset: 1000, data: { price: 6.5 } })');
  await shows('whole', '6');
});

test('rows that find no place say so, also in the state of the connection, and come up when others leave', async () => {
  await nats.publish('row.199', { n: 1999 });
  await open('app');
  await shows('connection', 'live');
  await page.click('#many');
  await shows('connection', 'rejected 7');
  await holds("[...document.querySelectorAll('.row')].at(-1).textContent === 'too_many_subscriptions'");
  await page.click('#few');
  await holds("[...document.querySelectorAll('.row')].at(-1).textContent === '1999'");
  await holds("![...document.querySelectorAll('.row')].some(({ textContent }) => textContent === 'too_many_subscriptions')");
});

test('a value whose gateway is gone is stale until there is one again', async () => {
  await nats.publish('a.price', { price: 300 });
  await open('app');
  await shows('second', '300 snapshot');
  await shows('outage', 'no need');
  await gateway.end('SIGKILL');
  await shows('second', 'stale');
  await shows('outage', 'polls');
  await gateway.launch();
  await shows('outage', 'no need');
  await until(
    'a value that is up to date',
    async () => !String(await page.evaluate("document.getElementById('second').textContent")).includes('stale'),
  );
});

test('a page that opens while the gateway is down polls what it was to be pushed, until there is one', async () => {
  await gateway.end('SIGKILL');
  await open('app');
  await shows('migrated', '7');
  await gateway.launch();
  await nats.publish('A.update', { price: 8 });
  await shows('migrated', '8');
});
