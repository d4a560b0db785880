import type { Browser, BrowserContext, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Site } from '../support/browser.js';
import { withBrowser, withServers } from '../support/fixture.js';
import type { Issuer } from '../support/issuer.js';
import { Publisher } from '../support/publisher.js';
import { range } from '../support/recorder.js';
import type { Relay } from '../support/relay.js';
import { Gateway, type Nats } from '../support/servers.js';
import { until } from '../support/until.js';

const PAGE = `<!doctype html><script type="module">
  import { createSharedClient } from '/shared.js';
  const { gateway: url, user, mode, cursor = 'null' } = Object.fromEntries(new URLSearchParams(location.search));
  const token = window.issue && user && (() => issue(user));
  const worker = mode === 'worker' ? {} : { worker: false };
  if (mode === 'broken') worker.worker = (name) => new SharedWorker('/missing.js', { type: 'module', name });
  if (mode === 'alone') Object.defineProperty(navigator, 'locks', { value: undefined });
  const client = window.client = createSharedClient({ url, cursor: JSON.parse(cursor), ...worker, ...(token && { token, user }), backoff: { baseMs: 20, capMs: 100 } });
  const seen = window.seen = { numbers: [], events: [], values: [] };
  for (const type of ['state', 'open', 'close', 'gap', 'duplicate', 'error']) client.on(type, (event) => seen.events.push({ ...event, cause: undefined }));
  window.hear = (channel = 'all.*') => (window.subscription = client.subscribe(channel, ({ data }) => seen.numbers.push(data.n)));
  hear();
</script>`;

let nats: Nats;
let issuer: Issuer;
let gateway: Gateway;
let strict: Gateway;
let relay: Relay;
let browser: Browser;
let site: Site;
let context: BrowserContext;
let pages: Page[];

withServers('all', (servers) => ({ nats, gateway, relay, issuer } = servers));
withBrowser({ '/tab.html': PAGE, '/elsewhere.html': '<!doctype html>' }, (opened) => ({ browser, site } = opened));
beforeAll(async () => {
  strict = await Gateway.start(nats, issuer.config);
});
afterAll(() => strict.stop());
beforeEach(async () => {
  context = await browser.newContext();
  pages = [];
});
afterEach(async () => {
  site.release();
  await context.close();
  for (const one of [gateway, strict]) await until('no connection', async () => (await one.metric('wsgateway_connections')) === 0);
});

async function tab(mode: string, query: Record<string, string> = {}): Promise<Page> {
  const page = await context.newPage();
  pages.push(page);
  await page.goto(`${site.url}tab.html?${new URLSearchParams({ gateway: gateway.url, mode, ...query })}`);
  return page;
}

async function tabs(mode: string, count = 3): Promise<Page[]> {
  for (let i = 0; i < count; i += 1) await tab(mode);
  for (const page of pages) await holds(page, "client.state === 'live'");
  return [...pages];
}

const holds = (page: Page, expression: string) =>
  until(
    expression,
    () => page.evaluate(`Boolean(${expression})`),
    () => page.url(),
  );
const connections = () => gateway.metric('wsgateway_connections');

const state = new Map<Page, string>();
const note = async (page: Page): Promise<void> => {
  state.set(
    page,
    JSON.stringify(await page.evaluate('[client.state, client.cursor, seen.numbers.length, subscription.state, seen.events.slice(-12)]')),
  );
};

/** These tabs have every number once, in order, and were told of nothing that is missing. */
async function haveAll(of: Page[], count: number): Promise<void> {
  for (const page of of) {
    await until(
      `${count} numbers`,
      async () => {
        await note(page);
        return page.evaluate(`seen.numbers.length >= ${count}`);
      },
      () => state.get(page) ?? '',
    );
    expect(await page.evaluate('seen.numbers')).toEqual(range(1, count));
    expect(await page.evaluate("seen.events.filter(({ type }) => ['gap', 'duplicate', 'error'].includes(type))")).toEqual([]);
  }
}

describe.each(['worker', 'tabs'])('%s', (mode) => {
  test('three tabs have one connection, and each has every message once', async () => {
    const all = await tabs(mode);
    expect(await connections()).toBe(1);
    const publisher = new Publisher(nats, 'all.a');
    await until('some messages', () => publisher.count > 100);
    const count = await publisher.stop();
    await haveAll(all, count);
    expect(await connections()).toBe(1);
  });

  test('the tab that came first is closed under live messages: the others miss nothing and get nothing twice', async () => {
    const [first, ...others] = (await tabs(mode)) as [Page, ...Page[]];
    const publisher = new Publisher(nats, 'all.b');
    await until('some messages', () => publisher.count > 100);
    await first.close();
    await until('more messages', () => publisher.count > 400);
    await haveAll(others, await publisher.stop());
    expect(await connections()).toBe(1);
  });
});

describe.each(['worker', 'tabs'])('%s: the end of a tab', (mode) => {
  test('a tab that crashes under live messages costs the others nothing', async () => {
    const [first, ...others] = (await tabs(mode)) as [Page, ...Page[]];
    const publisher = new Publisher(nats, 'all.c');
    await until('some messages', () => publisher.count > 100);
    await first.goto('chrome://crash').catch(() => {});
    await until('more messages', () => publisher.count > 400);
    await haveAll(others, await publisher.stop());
    expect(await connections()).toBe(1);
  });

  test('a tab that navigates away leaves no subscription behind', async () => {
    const [first, other] = (await tabs(mode, 2)) as [Page, Page];
    await first.evaluate("hear('own.*')");
    await until('two subscriptions', async () => (await gateway.metric('wsgateway_subscriptions')) === 2);
    await first.goto(`${site.url}elsewhere.html`);
    await until('one subscription', async () => (await gateway.metric('wsgateway_subscriptions')) === 1);
    await holds(other, "client.state === 'live'");
    expect(await connections()).toBe(1);
  });
});

/** The event loop of a page stands still, as that of a frozen one, until `site.release()`. */
function freeze(page: Page): Promise<unknown> {
  return page.evaluate("{ const request = new XMLHttpRequest(); request.open('GET', '/hang', false); request.send(); }");
}

/** Messages of 16 kB: 48 MB. */
const COUNT = 3000;

describe.each(['worker', 'tabs'])('%s: slow and frozen tabs', (mode) => {
  test('a tab that takes nothing for a while holds nobody up, and has everything once it takes again', async () => {
    const [first, slow] = (await tabs(mode, 2)) as [Page, Page];
    const publisher = new Publisher(nats, 'all.d');
    await until('some messages', () => publisher.count > 50);
    const stuck = freeze(slow);
    await until('more than a tab may be behind', () => publisher.count > 1300);
    const count = await publisher.stop();
    await haveAll([first], count);
    site.release();
    await stuck;
    await haveAll([slow], count);
    expect(await connections()).toBe(1);
  });

  test('a tab that misses more than is kept for it is told what', async () => {
    const [first, slow] = (await tabs(mode, 2)) as [Page, Page];
    const stuck = freeze(slow);
    // Three times as many bytes as are kept, and never more at once than the other tab takes.
    const filler = 'x'.repeat(16_384);
    for (let n = 1; n <= COUNT; n += 100) {
      await Promise.all(range(n, n + 99).map((each) => nats.publish('all.e', { n: each, filler })));
      await holds(first, `seen.numbers.length === ${n + 99}`);
    }
    site.release();
    await stuck;
    await until('the last message', () => slow.evaluate(`seen.numbers.at(-1) === ${COUNT}`));
    const numbers = (await slow.evaluate('seen.numbers')) as number[];
    expect(new Set(numbers).size).toBe(numbers.length);
    const gaps = (await slow.evaluate("seen.events.filter(({ type }) => type === 'gap')")) as {
      from: number;
      to: number;
      reason: string;
    }[];
    expect(gaps.map(({ reason }) => reason)).toEqual(['missed']);
    const { from, to } = gaps[0] as (typeof gaps)[0];
    expect(numbers.length + (to - from + 1)).toBe(COUNT);
  });
});

test('a leader that is frozen is replaced, and follows when it is thawed', async () => {
  const [leader, ...others] = (await tabs('tabs')) as [Page, ...Page[]];
  await nats.publish('all.f', { n: 1 });
  for (const page of others) await holds(page, 'seen.numbers.length === 1');
  const stuck = freeze(leader);
  for (const n of range(2, 500)) await nats.publish('all.f', { n });
  await haveAll(others, 500);
  site.release();
  await stuck;
  await haveAll([leader], 500);
  await nats.publish('all.f', { n: 501 });
  await haveAll([leader, ...others], 501);
  await until('one connection', async () => (await connections()) === 1);
});

test('a worker whose script cannot be loaded is replaced by a tab', async () => {
  const all = await tabs('broken', 2);
  await nats.publish('all.g', { n: 1 });
  await haveAll(all, 1);
  expect(await connections()).toBe(1);
});

test('without locks each tab has a connection of its own', async () => {
  const all = await tabs('alone', 2);
  await nats.publish('all.h', { n: 1 });
  await haveAll(all, 1);
  expect(await connections()).toBe(2);
});

describe.each(['worker', 'tabs'])('%s: users, and the gateway', (mode) => {
  test('tabs of one user share a connection and its tokens, another user has another', async () => {
    const users: string[] = [];
    await context.exposeFunction('issue', (user: string) => {
      users.push(user);
      return issuer.token(600, user);
    });
    const query = { gateway: strict.url, token: 'yes' };
    for (const user of ['ann', 'ann', 'bob']) await tab(mode, { ...query, user });
    for (const page of pages) await holds(page, "client.state === 'live'");
    expect(await strict.metric('wsgateway_connections')).toBe(2);
    expect(users.sort()).toEqual(['ann', 'bob']);
    await nats.publish('all.i', { n: 1 });
    await haveAll(pages, 1);
  });

  test('the gateway is killed under live messages: every tab resumes', async () => {
    const all = await tabs(mode);
    const publisher = new Publisher(nats, 'all.j');
    await until('some messages', () => publisher.count > 50);
    await gateway.end('SIGKILL');
    await holds(all[0] as Page, "client.state !== 'live'");
    await gateway.launch();
    for (const page of all) await holds(page, "client.state === 'live'");
    await haveAll(all, await publisher.stop());
    expect(await connections()).toBe(1);
  });

  test('each tab has the last values it asks for, once, and its own subscriptions', async () => {
    await nats.publish('values.a', { n: 1 });
    await nats.publish('values.b', { n: 2 });
    const all = await tabs(mode, 2);
    for (const page of all) {
      await page.evaluate("client.subscribe('values.*', ({ data, snapshot }) => seen.values.push([data.n, snapshot]), { snapshot: true })");
      await holds(page, 'seen.values.length === 2');
    }
    await nats.publish('values.a', { n: 3 });
    for (const page of all) {
      await holds(page, 'seen.values.length === 3');
      expect(await page.evaluate('seen.values')).toEqual([
        [1, true],
        [2, true],
        [3, undefined],
      ]);
      await holds(page, 'client.latencyMs > 0');
    }
    await all[0]?.evaluate('client.close()');
    expect(await all[0]?.evaluate('client.state')).toBe('closed');
    await nats.publish('values.a', { n: 4 });
    await holds(all[1] as Page, 'seen.values.length === 4');
    await all[0]?.evaluate('client.connect()');
    await holds(all[0] as Page, 'seen.values.length === 4');
  });
});

test('a token without a user is refused: it would be shared with anybody', async () => {
  const page = await tab('tabs');
  const attempt = "import('/shared.js').then(({ createSharedClient }) => createSharedClient({ url: 'wss://x', token: 't' })).catch(String)";
  expect(await page.evaluate(attempt)).toContain('needs user');
});

describe.each(['worker', 'tabs'])('%s: what a tab of its own would see', (mode) => {
  test('where WebSocket is blocked the tabs share an event stream', async () => {
    relay.noWebSocket = true;
    for (let i = 0; i < 2; i += 1) await tab(mode, { gateway: relay.url });
    for (const page of pages) await holds(page, "client.state === 'live' && client.transport === 'sse'");
    await nats.publish('all.k', { n: 1 });
    await haveAll(pages, 1);
    expect(await connections()).toBe(1);
    relay.noWebSocket = false;
  });

  test('a tab that comes with an older cursor than what is kept is told what it misses', async () => {
    for (const n of [1, 2]) await nats.publish('before.l', { n });
    const [first] = await tabs(mode, 1);
    await nats.publish('all.l', { n: 1 });
    await holds(first as Page, 'seen.numbers.length === 1');
    const cursor = (await first?.evaluate('client.cursor')) as { epoch: string; offset: number };
    const late = await tab(mode, { cursor: JSON.stringify({ ...cursor, offset: 1 }) });
    await holds(late, "client.state === 'live'");
    await nats.publish('all.l', { n: 2 });
    await holds(late, 'seen.numbers.at(-1) === 2');
    const gaps = await late.evaluate("seen.events.filter(({ type }) => type === 'gap').map(({ from, reason }) => [from, reason])");
    expect(gaps).toEqual([[2, 'missed']]);
    expect(await first?.evaluate('seen.numbers')).toEqual([1, 2]);
  });

  test('a channel that is refused is reported to its tab alone, and the tab is live', async () => {
    const [first, other] = (await tabs(mode, 2)) as [Page, Page];
    await first.evaluate("window.refused = client.subscribe('no..channel', () => {})");
    await holds(first, "refused.state === 'rejected' && client.rejected.length === 1");
    expect(await first.evaluate('client.state')).toBe('live');
    expect(await other.evaluate('client.rejected')).toEqual([]);
    await other.evaluate('client.close()');
    await first.evaluate('subscription.unsubscribe()');
    await first.evaluate('client.close()');
    await first.evaluate('client.connect()');
    await holds(first, "client.state === 'live'");
  });
});
