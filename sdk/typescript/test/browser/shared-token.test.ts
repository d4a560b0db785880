import type { Browser, BrowserContext, Page } from 'playwright-core';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Site } from '../support/browser.js';
import { withBrowser } from '../support/fixture.js';

const PAGE = `<!doctype html><script type="module">
  if (location.search.includes('alone')) Object.defineProperty(navigator, 'locks', { value: undefined });
  const { sharedToken } = await import('/shared-token.js');
  window.ready = (options) => { window.token = sharedToken(() => issue(), options); };
  ready({});
</script>`;
const TABS = 6;

let browser: Browser;
let site: Site;
let context: BrowserContext;
let issued: number;
/** What the issuer does with a request. */
let issue: (number: number) => Promise<string> | string;

withBrowser({ '/tab.html': PAGE }, (opened) => ({ browser, site } = opened));
beforeEach(async () => {
  issued = 0;
  issue = (number) => `token-${number}`;
  context = await browser.newContext();
  await context.exposeFunction('issue', () => {
    issued += 1;
    return issue(issued);
  });
});
afterEach(() => context.close());

async function tab(query = ''): Promise<Page> {
  const page = await context.newPage();
  await page.goto(`${site.url}tab.html${query}`);
  await page.waitForFunction('window.token');
  return page;
}

const tabs = (query = '') => Promise.all(Array.from({ length: TABS }, () => tab(query)));
const token = (page: Page) => page.evaluate('token()');
const tokens = (pages: Page[]) => Promise.all(pages.map(token));
const all = (text: string) => Array.from({ length: TABS }, () => text);

test('all tabs that want a token at the same time get the one that one of them fetched, and each of them once', async () => {
  const pages = await tabs();
  expect(await tokens(pages)).toEqual(all('token-1'));
  expect(issued).toBe(1);
  // Whoever asks again wants another one: its token is about to expire, or was refused.
  expect(await tokens(pages)).toEqual(all('token-2'));
  expect(issued).toBe(2);
  expect(await token(await tab())).toBe('token-2');
});

test('tabs come and go, and what they knew goes with them: nothing is stored', async () => {
  const first = await tab();
  expect(await token(first)).toBe('token-1');
  const stored = 'JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie])';
  expect(await first.evaluate(stored)).toBe('[{},{},""]');
  expect(await first.evaluate('indexedDB.databases()')).toEqual([]);
  expect(await first.evaluate('caches.keys()')).toEqual([]);
  await first.close();
  expect(await token(await tab())).toBe('token-2');
});

test('a token that is too old, or of another name, is not taken over', async () => {
  const [one, other] = [await tab(), await tab()];
  for (const page of [one, other]) await page.evaluate('ready({ maxAgeMs: 1 })');
  expect([await token(one), await token(other)]).toEqual(['token-1', 'token-2']);
  await one.evaluate("ready({ name: 'ann' })");
  await other.evaluate("ready({ name: 'bob' })");
  expect([await token(one), await token(other)]).toEqual(['token-3', 'token-4']);
});

test('a request that fails is no answer for others, and one that hangs holds nobody up', async () => {
  const [one, other] = [await tab(), await tab()];
  issue = (number) => (number === 1 ? Promise.reject(new Error('the login is away')) : `token-${number}`);
  const [failed, good] = await Promise.allSettled([token(one), token(other)]);
  expect([failed.status, good.status].sort()).toEqual(['fulfilled', 'rejected']);
  issue = (number) => (number === 3 ? new Promise(() => {}) : `token-${number}`);
  for (const page of [one, other]) await page.evaluate("ready({ waitMs: 300, name: 'hangs' })");
  void token(one).catch(() => {});
  await expect.poll(() => issued).toBe(3);
  expect(await token(other)).toBe('token-4');
});

test('a tab that is closed while it fetches leaves its turn to the next', async () => {
  const [one, other] = [await tab(), await tab()];
  issue = (number) => (number === 1 ? new Promise(() => {}) : `token-${number}`);
  void token(one).catch(() => {});
  await expect.poll(() => issued).toBe(1);
  const next = token(other);
  await one.close();
  expect(await next).toBe('token-2');
});

test('rubbish on the channel is no token', async () => {
  const [one, other] = [await tab(), await tab()];
  await other.evaluate(`{
    const channel = new BroadcastChannel('wsgateway-token:');
    channel.onmessage = ({ data }) => {
      for (const rubbish of [null, 7, 'held', {}, { type: 'held', for: data.from }, { type: 'held', for: data.from, token: 7, at: 9e15 },
        { type: 'held', for: 'x', token: 'evil', at: 9e15 }, { type: 'ask' }, { type: 'ask', from: 1, after: 'x' }]) channel.postMessage(rubbish);
    };
    window.kept = channel;
  }`);
  expect(await token(one)).toBe('token-1');
});

test('without locks each tab fetches for itself, once for all clients of its page', async () => {
  const pages = await tabs('?alone');
  const found = await Promise.all(pages.map((page) => page.evaluate('Promise.all([token(), token()])')));
  expect(issued).toBe(TABS);
  for (const [one, other] of found as string[][]) expect(one).toBe(other);
});
