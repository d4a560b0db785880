/** The built package in WebKit, the engine of Safari and of every browser on iOS, on a real gateway: `make webkit`. */
import { resolve } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { type Site, serve } from '../support/browser.js';
import { withServers } from '../support/fixture.js';
import { throughAKill } from '../support/outage.js';
import { Publisher } from '../support/publisher.js';
import { range } from '../support/recorder.js';
import type { Relay } from '../support/relay.js';
import { Gateway, type Nats } from '../support/servers.js';
import { until } from '../support/until.js';
import { WebKit } from '../support/webkit.js';

const built = resolve(import.meta.dirname, '../../dist');
const COMMON = `
  const { gateway: url, mode, fallback } = Object.fromEntries(new URLSearchParams(location.search));
  const quick = { url, backoff: { baseMs: 50, capMs: 200 } };
  const seen = window.seen = { numbers: [], texts: [], iterated: [], events: [], failures: [] };
  window.onerror = (message) => seen.failures.push(String(message));
  window.onunhandledrejection = ({ reason }) => seen.failures.push(String(reason));
  const watch = (client) => {
    window.client = client;
    for (const type of ['state', 'gap', 'duplicate', 'error']) client.on(type, (event) => seen.events.push({ ...event, cause: undefined }));
    client.subscribe('all.*', ({ data }) => {
      seen.numbers.push(data.n);
      if (data.text) seen.texts.push(data.text);
    });
  };`;
const PLAIN = `<!doctype html><script type="module">
  import { createClient } from '/wsgateway.js';
  import { iterate } from '/iterate.js';
  ${COMMON}
  watch(createClient({ ...quick, probeMs: 300, ...(fallback && { fallback: [fallback] }) }));
  for await (const { data } of iterate(client, 'all.*')) seen.iterated.push(data.n);
</script>`;
const TAB = `<!doctype html><script type="module">
  import { createSharedClient } from '/shared.js';
  ${COMMON}
  watch(createSharedClient({ ...quick, ...(mode === 'tabs' && { worker: false }) }));
</script>`;

let nats: Nats;
let gateway: Gateway;
let relay: Relay;
let compressed: Gateway;
let site: Site;
let webkit: WebKit;

withServers('all', (servers) => ({ nats, gateway, relay } = servers));
beforeAll(async () => {
  compressed = await Gateway.start(nats, {
    listener: { compression: true },
    channels: { stripPrefix: 'p.', rules: [{ match: 'all.*', batchWindow: 20 }] },
  });
  site = await serve({ '/favicon.ico': '', '/plain.html': PLAIN, '/tab.html': TAB }, [built, resolve(built, 'min')]);
  webkit = await WebKit.start();
});
afterAll(async () => {
  await webkit?.end();
  site?.stop();
  await compressed?.stop();
});

const opened: string[] = [];
afterEach(async () => {
  relay.noWebSocket = false;
  for (const handle of opened.splice(0)) await webkit.close(handle);
});

async function open(page: string, query: Record<string, string> = {}): Promise<string> {
  const handle = await webkit.open(`${site.url}${page}.html?${new URLSearchParams({ gateway: gateway.url, ...query })}`);
  opened.push(handle);
  return handle;
}

/** An expression of the page that is shown is true, soon. */
async function holds(expression: string): Promise<void> {
  let last: unknown;
  await until(
    expression,
    async () => {
      last = await webkit.evaluate('window.seen && [client.state, seen.numbers.length, seen.failures, seen.events.slice(-6)]');
      return webkit.evaluate(`Boolean(${expression})`);
    },
    () => JSON.stringify(last),
  );
}

/** The page that is shown has every number once and in order, and was told of nothing that is missing. */
async function hasAll(count: number, list = 'numbers'): Promise<void> {
  await holds(`seen.${list}.length >= ${count}`);
  expect(await webkit.evaluate(`seen.${list}`)).toEqual(range(1, count));
  expect(await webkit.evaluate("seen.events.filter(({ type }) => ['gap', 'duplicate', 'error'].includes(type))")).toEqual([]);
  expect(await webkit.evaluate('seen.failures')).toEqual([]);
}

test('it is WebKit', async () => {
  await open('plain');
  expect(await webkit.evaluate('navigator.userAgent')).toMatch(/AppleWebKit\/605.* Safari\/605/);
});

test('a page goes on where it was when its gateway is killed and comes back, also as an iterator', async () => {
  await open('plain');
  await holds("client.state === 'live'");
  const count = await throughAKill(gateway, new Publisher(nats, 'all.a'), holds);
  await hasAll(count);
  await hasAll(count, 'iterated');
});

test('what it inflates is what was published, and the gateway understands what it deflates', async () => {
  await open('plain', { gateway: compressed.url });
  await holds("client.state === 'live'");
  const text = 'gekürzt · 価格 · '.repeat(200);
  for (const n of range(1, 100)) await nats.publish('all.b', { n, text });
  await hasAll(100);
  expect(await webkit.evaluate('[...new Set(seen.texts)]')).toEqual([text]);
  expect(await compressed.metric('wsgateway_delivered_bytes_total')).toBeLessThan((100 * Buffer.byteLength(text)) / 10);
  // Commands that are long enough to be compressed, one after the other on one connection.
  for (const round of [1, 2, 3]) {
    const names = JSON.stringify(range(1, 30).map((n) => `round-${round}.number-${n}`));
    await webkit.evaluate(`${names}.forEach((name) => client.subscribe(name, () => {}))`);
    await nats.publish('all.b', { n: 100 + round });
    await hasAll(100 + round);
  }
  expect(await webkit.evaluate('seen.events.map(({ state }) => state)')).not.toContain('connecting');
});

test.each(['sse', 'poll'])('where WebSocket is refused it goes on by %s', async (fallback) => {
  relay.noWebSocket = true;
  await open('plain', { gateway: relay.url, fallback });
  await holds("client.state === 'live'");
  expect(await webkit.evaluate('client.transport')).toBe(fallback);
  const publisher = new Publisher(nats, 'all.c');
  await until('some messages', () => publisher.count > 100);
  await hasAll(await publisher.stop());
});

describe.each(['worker', 'tabs'])('tabs that share by %s', (mode) => {
  test('have one connection, and go on when the tab that came first is closed', async () => {
    const tabs = [];
    for (let i = 0; i < 3; i += 1) tabs.push(await open('tab', { mode }));
    for (const tab of tabs) {
      await webkit.show(tab);
      await holds("client.state === 'live'");
    }
    expect(await gateway.metric('wsgateway_connections')).toBe(1);
    const publisher = new Publisher(nats, 'all.d');
    await holds('seen.numbers.length > 50');
    await webkit.close(opened.shift() ?? '');
    const before = publisher.count;
    await until('more messages', () => publisher.count > before + 100);
    const count = await publisher.stop();
    for (const tab of tabs.slice(1)) {
      await webkit.show(tab);
      await hasAll(count);
    }
    expect(await gateway.metric('wsgateway_connections')).toBe(1);
  });
});
