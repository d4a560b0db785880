import type { Browser, Page } from 'playwright-core';
import { afterEach, expect, test } from 'vitest';
import type { Site } from '../support/browser.js';
import { withBrowser, withServers } from '../support/fixture.js';
import { Issuer } from '../support/issuer.js';
import { Publisher } from '../support/publisher.js';
import { range } from '../support/recorder.js';
import type { Relay } from '../support/relay.js';
import type { Nats } from '../support/servers.js';
import { until } from '../support/until.js';

const PAGE = `<!doctype html><script type="module">
  import { createClient } from '/wsgateway.js';
  const { gateway: url, fallback } = Object.fromEntries(new URLSearchParams(location.search));
  const seen = window.seen = { numbers: [], events: [] };
  const client = window.client = createClient({
    url, fallback: fallback ? [fallback] : [], token: () => issue(), backoff: { baseMs: 50, capMs: 200 }, probeMs: 600000, lazy: true,
  });
  for (const type of ['state', 'open', 'close', 'gap', 'duplicate', 'error']) client.on(type, (event) => seen.events.push(event));
  client.subscribe('plain.*', ({ data }) => seen.numbers.push(data.n));
  client.connect();
</script>`;

let nats: Nats;
let issuer: Issuer;
let relay: Relay;
let browser: Browser;
let site: Site;
let page: Page;
let addresses: string[];

withServers('all', (servers) => ({ nats, relay, issuer } = servers), { tokens: true });
withBrowser({ '/tokens.html': PAGE }, (opened) => ({ browser, site } = opened));
afterEach(() => page.close());

async function open(fallback: string, issue: () => string): Promise<void> {
  page = await browser.newPage();
  addresses = [];
  page.on('request', (request) => addresses.push(request.url()));
  page.on('websocket', (socket) => addresses.push(socket.url()));
  await page.exposeFunction('issue', issue);
  await page.goto(`${site.url}tokens.html?gateway=${encodeURIComponent(relay.url)}&fallback=${fallback}`);
}

const holds = (expression: string) =>
  until(
    expression,
    () => page.evaluate(`Boolean(${expression})`),
    () => addresses.slice(-5).join('\n'),
  );

test.each(['websocket', 'sse', 'poll'])('%s: a page exchanges its tokens under live messages, and nothing is lost', async (transport) => {
  relay.noWebSocket = transport !== 'websocket';
  await open(transport === 'websocket' ? '' : transport, () => issuer.token(2));
  await holds(`client.state === 'live' && client.transport === '${transport}'`);
  const publisher = new Publisher(nats, `plain.${transport}`);
  const before = issuer.issued;
  await until('three more tokens', () => issuer.issued >= before + 3);
  const count = await publisher.stop();
  await holds(`seen.numbers.length >= ${count}`);
  expect(await page.evaluate('seen.numbers')).toEqual(range(1, count));
  expect(await page.evaluate("seen.events.filter(({ type }) => ['gap', 'duplicate', 'error'].includes(type))")).toEqual([]);
  expect(addresses.join('\n')).not.toContain('eyJ');
});

test('a page whose token is refused finds out, and goes on with a good one', async () => {
  const other = new Issuer();
  let good = false;
  relay.noWebSocket = false;
  await open('', () => (good ? issuer : other).token(600));
  await holds("client.state === 'unauthorized'");
  expect(await page.evaluate("seen.events.filter(({ type }) => type === 'error').map(({ code }) => code)")).toEqual(['unauthorized']);
  good = true;
  await page.evaluate('client.connect()');
  await holds("client.state === 'live'");
  other.remove();
});
