/** The pure parts of a shared connection: what is kept for tabs, what one tab may be behind, and who is waited for. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { Push } from '../../src/push.js';
import { TabTokens } from '../../src/shared/ask.js';
import { Gathering } from '../../src/shared/gathering.js';
import { History, lost, oldest } from '../../src/shared/history.js';
import { canShare } from '../../src/shared/places.js';
import { Ring } from '../../src/shared/ring.js';
import { Seat } from '../../src/shared/seat.js';
import type { ToTab } from '../../src/shared/wire.js';
import type { Message } from '../../src/types.js';

const message = (channel: string, offset: number, data: unknown = offset) => ({ type: 'message', channel, offset, prev: 0, ts: 1, data });
const at = (offset: number, epoch = 'e') => ({ epoch, offset });
const offsets = (pushes: readonly Push[]) => pushes.map(({ offset }) => offset);

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

test('only pages with locks share: servers that render them do not', () => {
  vi.stubGlobal('navigator', { locks: {} });
  expect(canShare()).toBe(false);
  vi.stubGlobal('location', { href: 'https://x/' });
  expect(canShare()).toBe(true);
  vi.stubGlobal('navigator', {});
  expect(canShare()).toBe(false);
  vi.unstubAllGlobals();
});

test('a ring keeps the last messages by number and by size, and knows after which offset it has everything', () => {
  const few = new Ring({ messages: 2, bytes: 1_000_000 });
  for (const offset of [1, 2, 3]) few.add('a', offset, message('a', offset));
  expect(offsets(few.after(0, ['a']))).toEqual([2, 3]);
  expect(few.floor).toBe(1);
  const small = new Ring({ messages: 100, bytes: 1000 });
  for (const offset of [1, 2, 3]) small.add('a', offset, message('a', offset, 'x'.repeat(400)));
  expect(offsets(small.after(0, ['a']))).toEqual([3]);
  expect(small.floor).toBe(2);
});

test('a ring gives what belongs to patterns, in the order of the stream', () => {
  const ring = new Ring();
  for (const [channel, offset] of [
    ['b.x', 7],
    ['a.x', 5],
    ['a.y', 6],
    ['c', 8],
  ] as const)
    ring.add(channel, offset, message(channel, offset));
  expect(offsets(ring.after(5, ['a.*', 'b.>']))).toEqual([6, 7]);
});

test('a tab resumes from its cursor when everything since then is here, else from where it is', () => {
  const history = new History(new Ring({ messages: 2, bytes: 1_000_000 }));
  history.subscribed({ channels: ['a'], offset: 10 });
  expect(history.start(at(12), ['a'], at(20))).toBe(12);
  expect(history.start(at(5), ['a'], at(20))).toBe(10);
  expect(history.start(at(12), ['a', 'unknown'], at(20))).toBe(20);
  for (const offset of [13, 14, 15]) history.keep('a', offset, message('a', offset));
  expect(history.start(at(12), ['a'], at(20))).toBe(13);
  // Part was missing for the connection, too.
  history.subscribed({ channels: ['a'], offset: 18, recovered: false });
  expect(history.start(at(16), ['a'], at(20))).toBe(18);
  expect(history.start(at(16, 'other'), ['a'], at(20))).toBe(20);
});

test('what a tab has missed is reported for each channel', () => {
  expect(lost(at(5), 10, at(20), ['a', 'b'])).toEqual([
    { type: 'gap', channel: 'a', from: 6, to: 10, reason: 'missed' },
    { type: 'gap', channel: 'b', from: 6, to: 10, reason: 'missed' },
  ]);
  expect(lost(at(5, 'other'), 20, at(20), ['a'])).toEqual([{ type: 'gap', channel: 'a', from: 0, to: 20, reason: 'epoch' }]);
});

test('a connection begins at the least cursor of its epoch', () => {
  expect(oldest([null, at(7), at(5), at(1, 'other')])).toEqual(at(5));
  expect(oldest([null])).toBeNull();
});

function seat(limits = { messages: 2, bytes: 1_000_000 }): { one: Seat; posted: ToTab[]; counts: () => number[] } {
  const posted: ToTab[] = [];
  const one = new Seat('t', { post: (data) => void posted.push(data), close() {} }, () => null, limits);
  one.begin(1);
  return { one, posted, counts: () => posted.map((data) => (data.type === 'pushes' ? data.count : 0)) };
}
const turn = () => vi.advanceTimersByTimeAsync(0);
const send = (one: Seat, offset: number, more = {}) => one.message({ ...message('a', offset), ...more } as unknown as Message);

test('what comes in one turn is one post, and a message that belongs to several subscriptions comes once', async () => {
  const { one, posted } = seat({ messages: 10, bytes: 1_000_000 });
  const twice = message('a', 1) as unknown as Message;
  one.message(twice);
  one.message(twice);
  one.push({ type: 'live', id: 1, offset: 1 });
  send(one, 2);
  await turn();
  expect(posted).toMatchObject([
    {
      line: 1,
      count: 2,
      pushes: [{ type: 'batch', messages: [{ offset: 1 }] }, { type: 'live' }, { type: 'batch', messages: [{ offset: 2 }] }],
    },
  ]);
});

test('a tab that takes nothing is sent no more than its limit, and is to begin again once it has taken all', async () => {
  const { one, counts } = seat();
  for (const offset of [1, 2]) {
    send(one, offset);
    await turn();
  }
  expect(one.stalled).toBe(false);
  for (const offset of [3, 4]) send(one, offset);
  await turn();
  expect([one.stalled, counts()]).toEqual([true, [1, 1]]);
  expect([one.taken(1), one.taken(1)]).toEqual([false, true]);
});

test('the limit is one of bytes, too; last values count for neither', async () => {
  const { one } = seat({ messages: 100, bytes: 1000 });
  for (const offset of [1, 2, 3]) send(one, offset, { data: 'x'.repeat(900), snapshot: true });
  expect(one.stalled).toBe(false);
  send(one, 4);
  expect(one.stalled).toBe(true);
});

test('a line that begins has nothing of the one before', async () => {
  const { one, posted } = seat();
  send(one, 1);
  one.begin(2);
  await turn();
  expect(posted).toEqual([]);
});

test('a connection begins when every tab that is there has come, and waits a second for one that is frozen', async () => {
  const here = new Set<string>();
  let begun = 0;
  const gathering = new Gathering(
    async () => ['a', 'b'],
    (tab) => here.has(tab),
    () => {
      begun += 1;
    },
  );
  for (const tab of ['a', 'b']) {
    here.add(tab);
    gathering.came();
    await turn();
  }
  expect(begun).toBe(1);
  here.delete('b');
  gathering.came();
  await vi.advanceTimersByTimeAsync(999);
  expect(begun).toBe(1);
  await vi.advanceTimersByTimeAsync(1);
  expect(begun).toBe(2);
});

test('the tab that came last is asked for a token, then the others; an answer to another question counts for nothing', async () => {
  const asked: string[] = [];
  const hello = { hasToken: true } as Seat['hello'];
  const tabs = ['a', 'b', 'c'].map((tab) => {
    const one = new Seat(tab, { post: (data) => void (data.type === 'ask' && asked.push(`${tab}${data.id}`)), close() {} }, () => null);
    one.hello = tab === 'c' ? undefined : hello;
    return one;
  });
  const tokens = new TabTokens(() => [...tabs]);
  const token = tokens.ask();
  await vi.advanceTimersByTimeAsync(5000);
  expect(asked).toEqual(['b1', 'a2']);
  tokens.answered({ id: 1, token: 'late' });
  tokens.answered({ id: 2, token: 'good' });
  expect(await token).toBe('good');
  const none = tokens.ask();
  tokens.answered({ id: 3 });
  await turn();
  tokens.answered({ id: 4, token: 7 as unknown as string });
  await expect(none).rejects.toThrow('no tab has a token');
});
