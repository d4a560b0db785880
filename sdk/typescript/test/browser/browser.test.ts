/** What users run, where they run it: the built bundle and the React hooks in a real browser, on a real gateway. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { build } from 'vite';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { type Site, serve, startBrowser } from '../support/browser.js';
import { Publisher } from '../support/publisher.js';
import { range } from '../support/recorder.js';
import { Relay } from '../support/relay.js';
import { Gateway, Nats } from '../support/servers.js';
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
  for (const type of ['state', 'open', 'close', 'gap', 'duplicate', 'subscribed']) client.on(type, (event) => seen.events.push(event));
  client.subscribe('plain.*', ({ data }) => seen.numbers.push(data.n));
  client.connect();
</script>`;

beforeAll(async () => {
  await build({
    root: here,
    configFile: false,
    logLevel: 'warn',
    build: { outDir: bundle, emptyOutDir: true, minify: false, lib: { entry: 'app.tsx', formats: ['es'], fileName: () => 'app.js' } },
    define: { 'process.env.NODE_ENV': '"development"' },
  });
  const pages = {
    '/plain.html': PLAIN,
    '/app.html': '<!doctype html><link rel="icon" href="data:,"><div id="root"></div><script type="module" src="/app.js"></script>',
    '/favicon.ico': '',
  };
  nats = await Nats.start();
  gateway = await Gateway.start(nats);
  [browser, site] = await Promise.all([startBrowser(), serve(pages, [bundle, resolve(here, '../../dist/min')])]);
});
afterEach(() => page.close());
afterAll(async () => {
  site.stop();
  await browser.close();
  await gateway.stop();
  await nats.stop();
  rmSync(bundle, { recursive: true });
});

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
  const publisher = new Publisher(nats, 'plain.a');
  await holds('seen.numbers.length > 50');
  await gateway.end('SIGKILL');
  await holds("client.state !== 'live'");
  const before = publisher.count;
  await until('messages that nobody can deliver', () => publisher.count > before + 20);
  await gateway.launch();
  await holds("client.state === 'live'");
  const count = await publisher.stop();
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
  await until('one subscription less', async () => (await subscriptions()) === 2);

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
