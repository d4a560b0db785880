/** The protocol on a line that is a list: what is sent, what comes of what is pushed, with made-up time. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Emitter } from '../../src/emitter.js';
import { Session } from '../../src/session.js';
import type { Command, SubscribeCommand } from '../../src/transport.js';
import type { ClientEvent, Cursor, Message } from '../../src/types.js';

let session: Session;
let sent: (Command & { id?: number })[];
let events: ClientEvent[];
let got: Message[];
const receive = (message: Message) => void got.push(message);
/** Lets time pass (ms). */
const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms);
const turn = () => pass(0);

function make(cursor: Cursor | null = null): void {
  sent = [];
  events = [];
  got = [];
  const emitter = new Emitter();
  for (const type of ['subscribed', 'rejected', 'gap', 'duplicate', 'error'] as const) emitter.on(type, (event) => void events.push(event));
  session = new Session(emitter, { cursor, batch: true }, () => {});
}

function open(epoch = 'e', limits = {}): void {
  session.greeted({ epoch, limits });
  session.opened({ send: (command) => void sent.push(command), close: () => {} });
}

const asked = () => sent.filter((command): command is SubscribeCommand => command.type === 'subscribe');

/** Answers the last subscribe. */
function ack(offset: number, recovered?: boolean): void {
  const { id, channels } = asked().at(-1) as SubscribeCommand;
  session.acknowledged({ id, subscribed: channels, rejected: [], offset, ...(recovered !== undefined && { recovered }) });
}

const message = (channel: string, offset: number, prev = 0, more = {}) =>
  session.message({ type: 'message', channel, offset, prev, ts: 1, data: offset, ...more });
const offsets = () => got.map(({ offset }) => offset);
const gaps = () => events.filter(({ type }) => type === 'gap');

beforeEach(() => {
  vi.useFakeTimers();
  make();
});
afterEach(() => void vi.useRealTimers());

test('a cursor is the position of the acknowledgement, then the last delivered offset', async () => {
  expect(session.cursor).toBeNull();
  session.subscribe(['a'], receive, {});
  open();
  ack(10);
  expect(session.cursor).toEqual({ epoch: 'e', offset: 10 });
  message('a', 12);
  expect(session.cursor).toEqual({ epoch: 'e', offset: 12 });
});

test('a cut between the acknowledgement of last values and their end: what came live meanwhile comes again, and is dropped', async () => {
  session.subscribe(['mix.*'], receive, {});
  open();
  ack(10);
  session.subscribe(['mix.a'], receive, { snapshot: true });
  await turn();
  ack(11);
  // By mix.*, which says nothing of how far the other command is.
  message('mix.a', 12, 0);
  session.ended();
  open();
  expect(asked().at(-1)).toMatchObject({ channels: ['mix.*', 'mix.a'], resume: { epoch: 'e', offset: 11 } });
  ack(11, true);
  message('mix.a', 12, 0);
  message('mix.a', 13, 12);
  expect(offsets()).toEqual([12, 12, 13, 13]); // each of the two subscriptions once
  expect(events.filter(({ type }) => type === 'duplicate')).toEqual([{ type: 'duplicate', channel: 'mix.a', offset: 12 }]);
  expect(gaps()).toEqual([]);
});

test('after a line has ended everything is asked for in one command, from the cursor', () => {
  session.subscribe(['a', 'b.*'], receive, {});
  session.subscribe(['c'], receive, {});
  open();
  ack(10);
  message('a', 12);
  session.ended();
  open();
  expect(sent.slice(1)).toEqual([
    { type: 'subscribe', id: 2, channels: ['a', 'b.*', 'c'], batch: true, resume: { epoch: 'e', offset: 12 } },
  ]);
});

test('the cursor stays behind until everything is resumed, also over several commands and lines', async () => {
  const channels = Array.from({ length: 300 }, (_, i) => `channel.${i}`);
  session.subscribe(channels, receive, {});
  open('e', { commandBytes: 1 << 20 });
  ack(10);
  session.ended();
  open('e', { commandBytes: 4096 });
  const first = sent.at(-1) as SubscribeCommand;
  expect(first.channels.length).toBeLessThan(300);
  ack(10, true);
  message('channel.0', 90);
  expect(session.cursor).toEqual({ epoch: 'e', offset: 10 });
  expect(sent.at(-1)).toMatchObject({ resume: { epoch: 'e', offset: 10 } });
  session.ended();
  open('e', { commandBytes: 1 << 20 });
  expect(sent.at(-1)).toMatchObject({ channels, resume: { epoch: 'e', offset: 10 } });
  ack(10, true);
  message('channel.0', 90);
  message('channel.1', 91);
  expect(offsets()).toEqual([90, 91]);
});

test('what is new waits for what is resumed, and its messages do not move the cursor past the others', async () => {
  session.subscribe(['a'], receive, {});
  open();
  ack(10);
  session.ended();
  session.subscribe(['new'], receive, {});
  open();
  await turn();
  expect(sent).toHaveLength(2);
  expect(sent[1]).toMatchObject({ channels: ['a'], resume: { epoch: 'e', offset: 10 } });
  ack(10, true);
  expect(sent[2]).toMatchObject({ channels: ['new'] });
  expect(sent[2]).not.toHaveProperty('resume');
  ack(500);
  message('new', 501);
  message('a', 11);
  expect(session.cursor).toEqual({ epoch: 'e', offset: 11 });

  // The answer to "where are we" raises what it tells of, and ends nothing: `a` still looks back.
  session.locate();
  expect(sent[3]).toMatchObject({ type: 'subscribe', channels: [] });
  session.acknowledged({ id: sent[3]?.id, subscribed: [], rejected: [], offset: 300 });
  expect(session.cursor).toEqual({ epoch: 'e', offset: 300 });
  session.locate();
  session.acknowledged({ id: sent[4]?.id, subscribed: [], rejected: [], offset: 600 });
  message('new', 700);
  expect(session.cursor).toEqual({ epoch: 'e', offset: 600 });
  // Only its own word for it does.
  session.live({ id: sent[2]?.id, offset: 650 });
  expect(session.cursor).toEqual({ epoch: 'e', offset: 600 });
  session.live({ id: sent[1]?.id, offset: 650 });
  expect(session.cursor).toEqual({ epoch: 'e', offset: 700 });
});

test('the cursor stays at a replay, whatever else comes meanwhile', () => {
  session.subscribe(['*.trade'], receive, {});
  open();
  ack(500);
  session.subscribe(['BTC.trade'], receive, {});
  session.ended();
  open();
  ack(500, true);
  ack(9990);
  // BTC.trade comes live: it tells nothing of how far the replay is.
  message('BTC.trade', 9991, 9990);
  expect(session.cursor?.offset).toBe(500);
  message('ETH.trade', 501);
  expect(session.cursor?.offset).toBe(501);
  session.ended();
  open();
  expect(sent.at(-1)).toMatchObject({ channels: ['*.trade', 'BTC.trade'], resume: { epoch: 'e', offset: 501 } });
  ack(501, true);
  session.live({ id: sent.at(-1)?.id, offset: 501 });
  expect(session.cursor?.offset).toBe(501);
});

test('what is under way of a channel that was given up does not move the cursor past a replay', async () => {
  session.subscribe(['*.trade'], receive, {});
  const end = session.subscribe(['BTC.trade'], receive, {});
  open();
  ack(500);
  session.ended();
  open('e', { commandBytes: 1100 });
  ack(500, true);
  end();
  await pass(250);
  expect(sent.at(-1)).toEqual({ type: 'unsubscribe', channels: ['BTC.trade'] });
  message('BTC.trade', 9991);
  expect(session.cursor?.offset).toBe(500);
});

test('what was ahead of the cursor when a line ended does not count on the next one', () => {
  session.subscribe(['a', 'b'], receive, {});
  open();
  ack(10);
  session.ended();
  session.subscribe(['c'], receive, {});
  open();
  ack(10, true);
  ack(900);
  session.ended();
  open();
  ack(10, true);
  message('a', 11);
  session.live({ id: sent.at(-1)?.id, offset: 12 });
  expect(session.cursor).toEqual({ epoch: 'e', offset: 12 });
});

test('quiet channels keep a young cursor', () => {
  session.subscribe(['a'], receive, {});
  open();
  ack(10);
  session.locate();
  session.acknowledged({ id: sent[1]?.id, subscribed: [], rejected: [], offset: 90_000 });
  expect(session.cursor).toEqual({ epoch: 'e', offset: 90_000 });
});

test('the offset of a pong moves the cursor on, but not past what is still to be resumed', async () => {
  session.subscribe(['a'], receive, {});
  open();
  ack(10);
  session.pong({ type: 'pong', timestamp: 1, ts: 1, offset: 50 });
  expect(session.cursor).toEqual({ epoch: 'e', offset: 50 });
  for (const offset of [undefined, null, -1, 1.5, '90', Number.NaN, 40]) session.pong({ type: 'pong', timestamp: 1, ts: 1, offset });
  expect(session.cursor).toEqual({ epoch: 'e', offset: 50 });
  session.ended();
  open();
  // Of before the gateway has read the subscribe: it knows nothing of these channels.
  session.pong({ type: 'pong', timestamp: 1, ts: 1, offset: 700 });
  expect(session.cursor).toEqual({ epoch: 'e', offset: 50 });
  ack(50, true);
  expect(session.cursor).toEqual({ epoch: 'e', offset: 50 });
  // Of after: the resume is at 60, and not live yet.
  session.pong({ type: 'pong', timestamp: 1, ts: 1, offset: 60 });
  expect(session.cursor).toEqual({ epoch: 'e', offset: 60 });
  session.live({ id: asked().at(-1)?.id, offset: 800 });
  expect(session.cursor).toEqual({ epoch: 'e', offset: 800 });
});

test('a session that is given a cursor resumes its first channels', async () => {
  make({ epoch: 'e', offset: 77 });
  expect(session.cursor).toEqual({ epoch: 'e', offset: 77 });
  open();
  session.subscribe(['a'], receive, {});
  await turn();
  expect(sent).toMatchObject([{ channels: ['a'], resume: { epoch: 'e', offset: 77 } }]);
  ack(77, true);
  session.subscribe(['b'], receive, {});
  await turn();
  expect(sent[1]).not.toHaveProperty('resume');
});

test('a stream that was replaced begins anew: old offsets count for nothing', () => {
  session.subscribe(['a'], receive, {});
  open('old');
  ack(1000);
  message('a', 1001);
  session.ended();
  open('new');
  expect(sent.at(-1)).toMatchObject({ resume: { epoch: 'old', offset: 1001 } });
  ack(3, false);
  session.gap({ channel: 'a', from: 0, to: 3, reason: 'epoch' });
  message('a', 4, 3);
  expect(offsets()).toEqual([1001, 4]);
  expect(session.cursor).toEqual({ epoch: 'new', offset: 4 });
  expect(gaps()).toEqual([{ type: 'gap', channel: 'a', from: 0, to: 3, reason: 'epoch' }]);
});

test('a cursor from a future that never was goes back', () => {
  session.subscribe(['a'], receive, {});
  open();
  ack(1000);
  message('a', 1001);
  session.ended();
  open();
  ack(3, false);
  message('a', 4);
  expect(offsets()).toEqual([1001, 4]);
  expect(session.cursor).toEqual({ epoch: 'e', offset: 4 });
});

test('an offset that was seen is dropped, and told', () => {
  session.subscribe(['a'], receive, {});
  open();
  ack(10);
  for (const offset of [11, 12, 11, 12, 13]) message('a', offset);
  expect(offsets()).toEqual([11, 12, 13]);
  expect(events.filter(({ type }) => type === 'duplicate')).toHaveLength(2);
});

test('a hole is told once: by prev, or by the gateway before', () => {
  session.subscribe(['a', 'b'], receive, {});
  open();
  ack(10);
  message('a', 15, 13);
  message('b', 16, 9);
  session.gap({ channel: 'b', from: 17, to: 20, reason: 'slow_consumer' });
  message('b', 21, 20);
  session.gap({ channel: '>', from: 22, to: 30, reason: 'retention' });
  message('a', 31, 30);
  expect(gaps()).toEqual([
    { type: 'gap', channel: 'a', from: 11, to: 13, reason: 'missed' },
    { type: 'gap', channel: 'b', from: 17, to: 20, reason: 'slow_consumer' },
    { type: 'gap', channel: '>', from: 22, to: 30, reason: 'retention' },
  ]);
});

test('a gap that is told ahead does not cost the messages before it', () => {
  session.subscribe(['a'], receive, {});
  open();
  ack(10);
  session.ended();
  open();
  ack(20, false);
  session.gap({ channel: 'a', from: 11, to: 20, reason: 'retention' });
  session.gap({ channel: 'a', from: 31, to: 40, reason: 'retention' });
  for (const offset of [25, 30, 41]) message('a', offset);
  expect(offsets()).toEqual([25, 30, 41]);
});

test('a line without a way back answers for all channels at once', async () => {
  session.subscribe(['a'], receive, {});
  open();
  session.acknowledged({ subscribed: ['a'], rejected: [], offset: 10 });
  message('a', 11);
  session.subscribe(['quiet'], receive, {});
  await turn();
  session.acknowledged({ subscribed: ['a', 'quiet'], rejected: [], recovered: true, offset: 11 });
  message('a', 12);
  expect(session.cursor).toEqual({ epoch: 'e', offset: 12 });
});

test('a channel that is given up before it is resumed is not asked for', async () => {
  const end = session.subscribe(['a'], receive, {});
  session.subscribe(['b'], receive, {});
  open();
  ack(10);
  session.ended();
  end();
  open();
  expect(sent.at(-1)).toMatchObject({ channels: ['b'] });
  ack(10, true);
  message('b', 11);
  expect(session.cursor).toEqual({ epoch: 'e', offset: 11 });
});

test('what was published while a channel was not wanted is no hole', async () => {
  const end = session.subscribe(['a'], receive, {});
  open();
  ack(10);
  message('a', 11);
  end();
  await pass(250);
  session.subscribe(['a'], receive, {});
  await turn();
  expect(sent.map(({ type }) => type)).toEqual(['subscribe', 'unsubscribe', 'subscribe']);
  ack(20);
  message('a', 21, 19);
  expect(gaps()).toEqual([]);
});

test('a channel that is given up and soon wanted again costs no command, and misses nothing', async () => {
  const end = session.subscribe(['a'], receive, {});
  open();
  ack(10);
  end();
  await pass(200);
  message('a', 11);
  session.subscribe(['a'], receive, {});
  await pass(1000);
  message('a', 12, 11);
  expect([sent.length, offsets()]).toEqual([1, [12]]);
  expect(gaps()).toEqual([]);
});

test('a channel that is given up before it is acknowledged is left afterwards', async () => {
  const end = session.subscribe(['a'], receive, {});
  open();
  end();
  await pass(1000);
  expect(sent).toHaveLength(1);
  ack(10);
  await turn();
  expect(sent.slice(1)).toEqual([{ type: 'unsubscribe', channels: ['a'] }]);
});

test('commands keep to the rate of the gateway, and what comes to be wanted meanwhile goes together', async () => {
  open('e', { commandsPerSecond: 10 });
  const sentAt: number[] = [];
  const begun = Date.now();
  for (let n = 1; n <= 200; n++) {
    session.subscribe([`a.${n}`], receive, {});
    await pass(10);
    while (sentAt.length < sent.length) {
      sentAt.push(Date.now() - begun);
      ack(n);
    }
  }
  await pass(1000);
  expect(asked().flatMap(({ channels }) => channels)).toHaveLength(200);
  // Never more than the gateway's bucket takes: ten a second, when ten fit in.
  let paid = 0;
  for (const at of sentAt) {
    paid = Math.max(paid, at) + 100;
    expect(paid - at).toBeLessThanOrEqual(1000);
  }
  expect(sentAt.length).toBeLessThanOrEqual(30);
});

test('last values go to those who asked for them, once', () => {
  const plain: Message[] = [];
  session.subscribe(['a'], (one) => void plain.push(one), {});
  session.subscribe(['a'], receive, { snapshot: true });
  open();
  expect(sent[0]).toMatchObject({ snapshot: true });
  ack(10);
  message('a', 8, 7, { snapshot: true });
  message('a', 8, 7, { snapshot: true });
  message('a', 11, 8);
  expect([offsets(), plain.map(({ offset }) => offset)]).toEqual([[8, 11], [11]]);
  expect(session.cursor).toEqual({ epoch: 'e', offset: 11 });
});

test('who comes later asks for last values anew, together with others, and only they get them', async () => {
  session.subscribe(['a', 'b.*'], receive, { snapshot: true });
  open();
  ack(10);
  session.live({ id: 1, offset: 10 });
  message('a', 11);
  const late: Message[] = [];
  session.subscribe(['a'], (one) => void late.push(one), { snapshot: true });
  session.subscribe(['b.*'], (one) => void late.push(one), { snapshot: true });
  await turn();
  expect(sent.slice(1)).toEqual([{ type: 'subscribe', id: 2, channels: ['a', 'b.*'], batch: true, snapshot: true }]);
  ack(11);
  message('a', 11, 0, { snapshot: true });
  message('b.quiet', 3, 0, { snapshot: true });
  // The channels are live all the time: asking holds nothing back.
  message('a', 12, 11);
  expect(session.cursor).toEqual({ epoch: 'e', offset: 12 });
  session.live({ id: 2, offset: 12 });
  message('a', 9, 0, { snapshot: true });
  expect(late.map(({ channel, offset, snapshot }) => [channel, offset, snapshot])).toEqual([
    ['a', 11, true],
    ['b.quiet', 3, true],
    ['a', 12, undefined],
  ]);
  expect(offsets()).toEqual([11, 12]);
  await pass(1000);
  expect(sent).toHaveLength(2);
});

test('asking for last values holds no other channel back', async () => {
  session.subscribe(['a', 'b'], receive, {});
  open();
  ack(10);
  session.subscribe(['a'], () => {}, { snapshot: true });
  await turn();
  ack(11);
  message('b', 12);
  expect(session.cursor?.offset).toBe(12);
});

test('on a line without a way back, last values that were not asked for yet are still owed', async () => {
  session.subscribe(['a', 'b'], receive, {});
  open();
  session.acknowledged({ subscribed: ['a', 'b'], rejected: [], offset: 10 });
  session.subscribe(['a'], receive, { snapshot: true });
  await turn();
  session.subscribe(['b'], receive, { snapshot: true });
  session.acknowledged({ subscribed: ['a', 'b'], rejected: [], recovered: true, offset: 10 });
  session.live({ offset: 10 });
  await turn();
  expect(sent.slice(1)).toMatchObject([
    { channels: ['a'], snapshot: true },
    { channels: ['b'], snapshot: true },
  ]);
});

test('who comes while last values are under way gets all of them, by asking again', async () => {
  session.subscribe(['*.x'], receive, { snapshot: true });
  open();
  ack(10);
  message('a.x', 1, 0, { snapshot: true });
  const late: Message[] = [];
  session.subscribe(['*.x'], (one) => void late.push(one), { snapshot: true });
  message('b.x', 2, 0, { snapshot: true });
  session.live({ id: 1, offset: 10 });
  await turn();
  expect(sent[1]).toMatchObject({ id: 2, channels: ['*.x'], snapshot: true });
  ack(10);
  for (const [n, channel] of ['a.x', 'b.x'].entries()) message(channel, n + 1, 0, { snapshot: true });
  session.live({ id: 2, offset: 10 });
  expect([offsets(), late.map(({ offset }) => offset)]).toEqual([
    [1, 2],
    [1, 2],
  ]);
});

test('a channel that was subscribed without last values gets them for who comes later', async () => {
  session.subscribe(['a.*'], () => {}, {});
  open();
  ack(10);
  session.subscribe(['a.*'], receive, { snapshot: true });
  await turn();
  expect(sent[1]).toMatchObject({ channels: ['a.*'], snapshot: true });
  ack(12);
  message('a.1', 7, 0, { snapshot: true });
  message('a.1', 13, 7);
  expect(got).toMatchObject([{ offset: 7, snapshot: true }, { offset: 13 }]);
});

test('last values that a line did not bring to the end are asked for on the next, behind the resume', async () => {
  session.subscribe(['*.x'], receive, { snapshot: true });
  open();
  ack(10);
  message('a.x', 1, 0, { snapshot: true });
  session.ended();
  open();
  expect(sent[1]).toMatchObject({ channels: ['*.x'], resume: { epoch: 'e', offset: 10 }, snapshot: true });
  ack(10, true);
  message('b.x', 11, 2);
  await turn();
  expect(sent).toHaveLength(2);
  session.live({ id: 2, offset: 11 });
  await turn();
  expect(sent[2]).toEqual({ type: 'subscribe', id: 3, channels: ['*.x'], batch: true, snapshot: true });
  ack(11);
  message('a.x', 1, 0, { snapshot: true });
  message('b.x', 11, 2, { snapshot: true });
  message('c.x', 4, 0, { snapshot: true });
  session.live({ id: 3, offset: 11 });
  expect(got.map(({ channel }) => channel)).toEqual(['a.x', 'b.x', 'c.x']);
  await pass(1000);
  expect(sent).toHaveLength(3);
});

test('a session that goes on from a cursor that was kept gets the last values, too', async () => {
  make({ epoch: 'e', offset: 77 });
  session.subscribe(['*.x'], receive, { snapshot: true });
  open();
  ack(77, true);
  session.live({ id: 1, offset: 80 });
  await turn();
  expect(sent[1]).toEqual({ type: 'subscribe', id: 2, channels: ['*.x'], batch: true, snapshot: true });
  ack(80);
  message('a.x', 5, 0, { snapshot: true });
  expect(offsets()).toEqual([5]);
});

test('when something is missing last values come again, to all who have any', () => {
  const plain: Message[] = [];
  session.subscribe(['a'], receive, { snapshot: true });
  session.subscribe(['a'], (one) => void plain.push(one), {});
  open();
  ack(10);
  session.live({ id: 1, offset: 10 });
  message('a', 11);
  session.ended();
  open();
  ack(50, false);
  message('a', 40, 0, { snapshot: true });
  expect([offsets(), plain.length]).toEqual([[11, 40], 1]);
});

test('a last value is no message: what a replay brings from before it is delivered', () => {
  const trades: Message[] = [];
  session.subscribe(['*.trade'], (one) => void trades.push(one), {});
  open();
  ack(500);
  session.ended();
  session.subscribe(['BTC.trade'], receive, { snapshot: true });
  open();
  ack(500, true);
  ack(9990);
  message('BTC.trade', 9990, 0, { snapshot: true });
  for (const offset of [501, 502]) message('BTC.trade', offset);
  expect(trades.map(({ offset }) => offset)).toEqual([501, 502]);
  // Who has the last value is not sent back.
  expect(offsets()).toEqual([9990]);
  expect(events.filter(({ type }) => type === 'duplicate')).toEqual([]);
});

test('a last value for another subscription is none for one whose own are still to come', () => {
  const trades: Message[] = [];
  session.subscribe(['*.trade'], (one) => void trades.push(one), { snapshot: true });
  open();
  ack(500);
  session.ended();
  session.subscribe(['BTC.trade'], receive, { snapshot: true });
  open();
  ack(500, true);
  ack(9990);
  message('BTC.trade', 9990, 0, { snapshot: true });
  message('BTC.trade', 501);
  expect(trades.map(({ offset }) => offset)).toEqual([501]);
});

/** Frames as the gateway writes them when the value of a channel is deleted. */
const REASONS = ['MaxAge', 'Purge', 'Remove', 'DEL', 'PURGE'] as const;
const deletion = (channel: string, offset: number, prev: number, deleted: string, more = {}) =>
  session.message({ type: 'message', channel, offset, prev, ts: 1, deleted, ...more });

test.each(REASONS)('a deletion (%s) is a message without data, in its place among the others', (deleted) => {
  session.subscribe(['a'], receive, {});
  open();
  ack(6);
  message('a', 7, 3);
  deletion('a', 9, 7, deleted);
  message('a', 10, 9);
  expect(got).toEqual([
    { type: 'message', channel: 'a', offset: 7, prev: 3, ts: 1, data: 7 },
    { type: 'message', channel: 'a', offset: 9, prev: 7, ts: 1, data: undefined, deleted },
    { type: 'message', channel: 'a', offset: 10, prev: 9, ts: 1, data: 10 },
  ]);
  expect(session.cursor?.offset).toBe(10);
  expect(events.map(({ type }) => type)).toEqual(['subscribed']);
  // What comes twice is dropped like anything else, and a hole before it is one.
  deletion('a', 9, 7, deleted);
  deletion('a', 20, 15, deleted);
  expect(offsets()).toEqual([7, 9, 10, 20]);
  expect(events.slice(1)).toMatchObject([{ type: 'duplicate' }, { type: 'gap', from: 11, to: 15, reason: 'missed' }]);
});

test('a value that has been deleted is not a last value, whoever asks and whenever that comes', async () => {
  session.subscribe(['a', 'b'], receive, {});
  open();
  ack(6);
  message('a', 7);
  deletion('a', 9, 7, 'Purge');
  const late: Message[] = [];
  session.subscribe(['a', 'b'], (one) => void late.push(one), { snapshot: true });
  await turn();
  ack(9);
  message('a', 7, 3, { snapshot: true });
  deletion('a', 9, 7, 'Purge', { snapshot: true });
  message('b', 5, 0, { snapshot: true });
  session.live({ id: 2, offset: 9 });
  expect(late.map(({ channel, offset }) => [channel, offset])).toEqual([['b', 5]]);
  // A value after the deletion is one again.
  message('a', 11, 9);
  const later: Message[] = [];
  session.subscribe(['a'], (one) => void later.push(one), { snapshot: true });
  await turn();
  ack(11);
  message('a', 11, 9, { snapshot: true });
  expect(later.map(({ offset }) => offset)).toEqual([11]);
});

test('a deletion of another epoch says nothing of the values of this one', async () => {
  session.subscribe(['a'], receive, { snapshot: true });
  open('old');
  ack(10);
  deletion('a', 90, 0, 'MaxAge');
  session.ended();
  open('new');
  ack(5, false);
  message('a', 4, 0, { snapshot: true });
  expect(offsets()).toEqual([90, 4]);
});

test('a deletion brings no data, whatever the frame holds', () => {
  session.subscribe(['a'], receive, {});
  open();
  ack(6);
  deletion('a', 9, 7, 'DEL', { data: 'eA==', encoding: 'base64' });
  expect(got).toMatchObject([{ deleted: 'DEL', data: undefined }]);
});

test('when too many replays are under way it asks again a little later, for what is wanted then', async () => {
  const end = session.subscribe(['a'], receive, {});
  session.subscribe(['b'], receive, {});
  open();
  ack(10);
  session.ended();
  open();
  session.refused({ id: 2, code: 'too_many_replays', message: '…' });
  end();
  await pass(900);
  expect(sent).toHaveLength(2);
  await pass(300);
  expect(sent.slice(2)).toMatchObject([{ id: 3, channels: ['b'], resume: { epoch: 'e', offset: 10 } }]);
  expect(events.filter(({ type }) => type === 'rejected')).toEqual([]);
});

test('a subscribe may wait for a replay as long as that takes; without one, as long as something comes', async () => {
  session.subscribe(['a'], receive, {});
  open();
  ack(10);
  session.ended();
  session.subscribe(['b'], receive, {});
  open();
  ack(10, true);
  await pass(60_000);
  expect([asked().at(-1)?.channels, session.waits]).toEqual([['b'], 0]);
  session.live({ id: 2, offset: 20 });
  await pass(20_000);
  message('a', 21);
  await pass(20_000);
  expect(session.waits).toBe(20_000);
});

test('last values that are refused are not asked for again, and the channel stays', async () => {
  session.subscribe(['a'], receive, {});
  open();
  ack(10);
  session.subscribe(['a'], receive, { snapshot: true });
  await turn();
  session.refused({ id: 2, code: 'no', message: '…' });
  await pass(5000);
  expect(sent).toHaveLength(2);
  message('a', 11);
  expect(offsets()).toEqual([11, 11]);
  expect(events.filter(({ type }) => type === 'rejected')).toEqual([]);
});

test('what comes behind the end of a line is not delivered', () => {
  session.subscribe(
    ['a'],
    (one) => {
      receive(one);
      session.ended();
    },
    {},
  );
  open();
  ack(10);
  for (const offset of [11, 12]) message('a', offset);
  expect(offsets()).toEqual([11]);
  expect(session.cursor?.offset).toBe(11);
});

test('a gap of a pattern excuses only what belongs to it', () => {
  session.subscribe(['BTC.trade', 'BTC.price'], receive, {});
  open();
  ack(10);
  session.gap({ channel: '*.trade', from: 11, to: 30, reason: 'retention' });
  message('BTC.trade', 31, 30);
  message('BTC.price', 32, 29);
  expect(gaps()).toEqual([
    { type: 'gap', channel: '*.trade', from: 11, to: 30, reason: 'retention' },
    { type: 'gap', channel: 'BTC.price', from: 11, to: 29, reason: 'missed' },
  ]);
});

test('a command that is refused as a whole rejects its channels, and the next goes out', async () => {
  session.subscribe(['a'], receive, {});
  open();
  session.subscribe(['b'], receive, {});
  await turn();
  session.refused({ id: 1, code: 'too_many_channels', message: '…' });
  expect(events).toContainEqual({ type: 'rejected', channel: 'a', code: 'too_many_channels' });
  expect(sent[1]).toMatchObject({ channels: ['b'] });
});

test('nothing that is pushed makes it throw or lose its place', () => {
  session.subscribe(['a'], receive, {});
  open();
  ack(10);
  const junk: unknown[] = [undefined, null, 0, -1, 1.5, Number.NaN, '', 'a', [], {}, [[]], { channel: 'a' }, '__proto__', true];
  for (const value of junk) {
    for (const field of [
      'channel',
      'offset',
      'prev',
      'subscribed',
      'rejected',
      'from',
      'to',
      'id',
      'epoch',
      'limits',
      'encoding',
      'data',
    ]) {
      const push = { channel: 'a', offset: 5, prev: 0, subscribed: [], rejected: [], from: 1, to: 2, epoch: 'e', [field]: value };
      session.message(push);
      session.gap(push);
      session.refused({ ...push, code: value });
      session.acknowledged({ ...push, id: 'none' });
    }
  }
  message('a', 11);
  expect(offsets().at(-1)).toBe(11);
});

/** Answers the last subscribe: so many places are free. */
function ackPlaces(places: number, offset: number, listed = 128): void {
  const { id, channels } = asked().at(-1) as SubscribeCommand;
  const rejected = channels.slice(places, places + listed).map((channel) => ({ channel, code: 'too_many_subscriptions' }));
  session.acknowledged({ id, subscribed: channels.slice(0, places), rejected, offset });
}
const codes = () => events.flatMap((event) => (event.type === 'rejected' ? [`${event.channel} ${event.code}`] : []));

test('channels for which there was no place are asked for again when places are free, and no more than that', async () => {
  const rows = ['a', 'b', 'c', 'd', 'e'].map((channel) => session.subscribe([channel], receive, {}));
  open();
  ackPlaces(2, 10);
  expect(rows.map((row) => row.status().state)).toEqual(['live', 'live', 'rejected', 'rejected', 'rejected']);
  rows[0]?.();
  await pass(300);
  expect(asked().at(-1)?.channels).toEqual(['c']);
  ackPlaces(1, 11);
  expect(rows.map((row) => row.status().state)).toEqual(['ended', 'live', 'live', 'rejected', 'rejected']);
  // Who has gone meanwhile is not asked for.
  rows[3]?.();
  rows[1]?.();
  await pass(500);
  expect(asked().at(-1)?.channels).toEqual(['e']);
  message('c', 12);
  expect(offsets()).toEqual([12]);
});

test('every channel that is rejected is told, also those that the gateway has no room to list', () => {
  session.subscribe(['a', 'b', 'c', 'd'], receive, {});
  open();
  ackPlaces(1, 10, 1);
  expect(codes()).toEqual(['b', 'c', 'd'].map((channel) => `${channel} too_many_subscriptions`));
});

test('a subscription says how it is: pending, live, with rejected channels, pending when the line has ended', () => {
  const told: unknown[] = [];
  session.subscribe(['a', 'b'], receive, { onState: ({ state, rejected }) => void told.push([state, rejected]) });
  open();
  ackPlaces(1, 10);
  session.ended();
  open();
  ack(11, true);
  ack(12); // what was rejected before is asked for anew
  session.unsubscribed({ channels: ['a', 'b'], reason: 'not_allowed' });
  expect(told).toEqual([
    ['live', { b: 'too_many_subscriptions' }],
    ['pending', {}],
    ['live', {}],
    ['rejected', { a: 'not_allowed', b: 'not_allowed' }],
  ]);
});

test('who subscribes to a channel that is live already is told so', async () => {
  session.subscribe(['a'], receive, {});
  open();
  ack(10);
  const told: unknown[] = [];
  session.subscribe(['a'], receive, { onState: ({ state }) => void told.push(state) });
  expect(told).toEqual([]); // not before the caller has its subscription
  await turn();
  expect(told).toEqual(['live']);
});

test('a channel for which the pod has no room is asked for again after a while', async () => {
  session.subscribe(['a'], receive, {});
  open();
  session.acknowledged({ id: 1, subscribed: [], rejected: [{ channel: 'a', code: 'index_full' }], offset: 10 });
  await pass(29_000);
  expect(asked()).toHaveLength(1);
  await pass(2_000);
  expect(asked().map(({ channels }) => channels)).toEqual([['a'], ['a']]);
});
