/** The protocol on a line that is a list: what is sent, what comes of what is pushed, with made-up time. */
import { beforeEach, expect, test, vi } from 'vitest';
import { Emitter } from '../../src/emitter.js';
import { Session } from '../../src/session.js';
import type { Command, SubscribeCommand } from '../../src/transport.js';
import type { ClientEvent, Cursor, Message } from '../../src/types.js';

let session: Session;
let sent: (Command & { id?: number })[];
let events: ClientEvent[];
let got: Message[];
let now: number;
const receive = (message: Message) => void got.push(message);
const turn = () => new Promise((done) => setTimeout(done));

function make(cursor: Cursor | null = null): void {
  sent = [];
  events = [];
  got = [];
  now = 0;
  const emitter = new Emitter();
  for (const type of ['subscribed', 'rejected', 'gap', 'duplicate', 'error'] as const) emitter.on(type, (event) => void events.push(event));
  session = new Session(
    emitter,
    { cursor, batch: true },
    () => {},
    () => now,
  );
}

function open(epoch = 'e', limits = {}): void {
  session.greeted({ epoch, limits });
  session.opened({ send: (command) => void sent.push(command), close: () => {} });
}

/** Answers the last subscribe. */
function ack(offset: number, recovered?: boolean): void {
  const { id, channels } = sent.filter((command): command is SubscribeCommand => command.type === 'subscribe').at(-1) as SubscribeCommand;
  session.acknowledged({ id, subscribed: channels, rejected: [], offset, ...(recovered !== undefined && { recovered }) });
}

const message = (channel: string, offset: number, prev = 0, more = {}) =>
  session.message({ type: 'message', channel, offset, prev, ts: 1, data: offset, ...more });
const offsets = () => got.map(({ offset }) => offset);
const gaps = () => events.filter(({ type }) => type === 'gap');

beforeEach(() => make());

test('a cursor is the position of the acknowledgement, then the last delivered offset', async () => {
  expect(session.cursor).toBeNull();
  session.subscribe(['a'], receive, {});
  open();
  ack(10);
  expect(session.cursor).toEqual({ epoch: 'e', offset: 10 });
  message('a', 12);
  expect(session.cursor).toEqual({ epoch: 'e', offset: 12 });
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

  // The gateway is asked when it has had time: something is still behind, then nothing is.
  session.locate(false);
  expect(sent).toHaveLength(3);
  now += 15_000;
  session.locate(false);
  expect(sent[3]).toMatchObject({ type: 'subscribe', channels: [] });
  session.acknowledged({ id: sent[3]?.id, subscribed: [], rejected: [], offset: 300 });
  expect(session.cursor).toEqual({ epoch: 'e', offset: 300 });
  session.locate(false);
  session.acknowledged({ id: sent[4]?.id, subscribed: [], rejected: [], offset: 600 });
  expect(session.cursor).toEqual({ epoch: 'e', offset: 600 });
  session.locate(false);
  expect(sent).toHaveLength(5);
});

test('quiet channels keep a young cursor', () => {
  session.subscribe(['a'], receive, {});
  open();
  ack(10);
  session.locate(true);
  session.acknowledged({ id: sent[1]?.id, subscribed: [], rejected: [], offset: 90_000 });
  expect(session.cursor).toEqual({ epoch: 'e', offset: 90_000 });
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
  await turn();
  session.subscribe(['a'], receive, {});
  await turn();
  ack(20);
  message('a', 21, 19);
  expect(gaps()).toEqual([]);
});

test('last values go to those who asked for them, once', async () => {
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

  // Who comes later gets the value that is known, without a command.
  const late: Message[] = [];
  session.subscribe(['a'], (one) => void late.push(one), { snapshot: true });
  await turn();
  expect(late).toMatchObject([{ offset: 11, snapshot: true }]);
  expect(sent).toHaveLength(1);
});

test('a channel that was subscribed without last values has those that came since', async () => {
  session.subscribe(['a'], () => {}, {});
  open();
  ack(10);
  message('a', 11);
  session.subscribe(['a'], receive, { snapshot: true });
  await turn();
  message('a', 12, 11);
  expect(got).toMatchObject([{ offset: 11, snapshot: true }, { offset: 12 }]);
});

test('when too many replays are under way it asks again a little later', () => {
  vi.useFakeTimers();
  try {
    session.subscribe(['a'], receive, {});
    open();
    ack(10);
    session.ended();
    open();
    session.refused({ id: 2, code: 'too_many_replays', message: '…' });
    expect(sent).toHaveLength(2);
    vi.advanceTimersByTime(1000);
    expect(sent[2]).toMatchObject({ id: 3, channels: ['a'], resume: { epoch: 'e', offset: 10 } });
  } finally {
    vi.useRealTimers();
  }
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
