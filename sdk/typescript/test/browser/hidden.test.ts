import type { Browser, Page } from 'playwright-core';
import { afterEach, expect, test } from 'vitest';
import type { Site } from '../support/browser.js';
import { withBrowser, withServers } from '../support/fixture.js';
import { range } from '../support/recorder.js';
import type { Gateway, Nats } from '../support/servers.js';
import { until } from '../support/until.js';

let nats: Nats;
let gateway: Gateway;
let browser: Browser;
let site: Site;
let page: Page;

const PAGE = `<!doctype html><script type="module">
  import { createClient } from '/index.js';
  import { pauseWhileHidden } from '/hidden.js';
  const client = window.client = createClient({ url: new URLSearchParams(location.search).get('gateway') });
  window.seen = [];
  window.gaps = 0;
  client.on('gap', () => (window.gaps += 1));
  client.subscribe('hidden.*', ({ data }) => seen.push(data.n));
  window.end = pauseWhileHidden(client, { afterMs: 50 });
  window.show = (state) => {
    Object.defineProperty(document, 'visibilityState', { value: state, configurable: true });
    document.dispatchEvent(new Event('visibilitychange'));
  };
</script>`;

withServers('all', (servers) => ({ nats, gateway } = servers));
withBrowser({ '/page.html': PAGE }, (opened) => ({ browser, site } = opened));
afterEach(() => page.close());

const holds = (expression: string) => until(expression, () => page.evaluate(`Boolean(${expression})`));

test('a page that is hidden gives its connection up, and has everything when it is seen again', async () => {
  page = await browser.newPage();
  await page.goto(`${site.url}page.html?gateway=${encodeURIComponent(gateway.url)}`);
  await holds("client.state === 'live'");
  await nats.publish('hidden.a', { n: 1 });
  await holds('seen.length === 1');
  await page.evaluate("show('hidden')");
  await holds("client.state === 'closed'");
  for (const n of [2, 3]) await nats.publish('hidden.a', { n });
  await page.evaluate("show('visible')");
  await holds('seen.length === 3');
  expect(await page.evaluate('[seen, gaps]')).toEqual([range(1, 3), 0]);
});
