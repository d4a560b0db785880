/**
 * The protocol above any line: what is subscribed, where we are in the stream, what has been missed. It sends one
 * subscribe at a time: first everything from the cursor, then what is new, then last values that are still owed.
 */
import { chunks, matches } from './channels.js';
import { Ledger, remember } from './cursor.js';
import type { Emitter } from './emitter.js';
import { Position } from './position.js';
import { bytes, isOffset, isText, list, type Push } from './push.js';
import { type Entry, Handler, Subscriptions } from './subscriptions.js';
import type { Line, SubscribeCommand } from './transport.js';
import type { Cursor, GapReason, Message, SubscribeOptions, SubscriptionStatus } from './types.js';

/** Bytes of a command besides its channels. */
const ENVELOPE = 512;
/** Bytes of a command that every gateway accepts, until the greeting says more. */
const COMMAND_BYTES = 4096;
/** Commands a second that a gateway accepts, until the greeting says more. */
const COMMAND_RATE = 10;
/** Our part of them; the rest is for pings (ms for all of a second's). */
const COMMANDS_MS = 1250;
/** Commands that may be sent at once, as time that their cost may be ahead (ms). */
const AHEAD_MS = 1000;
/** Too many replays at once: one of them is done soon. */
const REPLAYS_BUSY_MS = 1000;
/** A channel that is dropped and wanted again within this time costs no command: a list that is scrolled (ms). */
const LINGER_MS = 250;

/** Rejections that need not last: asked for again when places are free, or after a while. */
const NO_PLACE = 'too_many_subscriptions';
const POD_FULL = 'index_full';
const POD_FULL_MS = 30_000;

/** Ends a subscription. */
export interface Ending {
  (): void;
  status(): SubscriptionStatus;
}

/** A subscribe that waits for its answer. */
interface Flight {
  command: SubscribeCommand;
  entries: Entry[];
}

export class Session {
  readonly #subscriptions = new Subscriptions();
  readonly #ledger = new Ledger();
  /** Offsets of the last deletions, by channel: values from before them are not current. */
  readonly #deletions = new Map<string, number>();
  #line: Line | null = null;
  readonly #position: Position;
  /** The cursor was given from outside: the first channels resume from it, too. */
  #given: boolean;
  #flight: Flight | null = null;
  #id = 0;
  /** When the line last brought something. */
  #heardAt = 0;
  #commandBytes = COMMAND_BYTES;
  /** What one command costs (ms), and when those that were sent will have been paid for. */
  #cost = COMMANDS_MS / COMMAND_RATE;
  #paidAt = 0;
  #scheduled = false;
  /** The pongs of this line carry an offset. */
  #pongsLocate = false;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** Until channels are asked for again for which the pod had no room. */
  #later: ReturnType<typeof setTimeout> | undefined;

  constructor(
    readonly events: Emitter,
    readonly options: { cursor: Cursor | null; batch: boolean },
    /** Everything wanted is acknowledged. */
    readonly settled: () => void,
    readonly now: () => number = Date.now,
  ) {
    this.#position = new Position(options.cursor, () => this.#subscriptions.groups());
    this.#given = options.cursor !== null;
  }

  get cursor(): Cursor | null {
    return this.#position.cursor;
  }

  /** How long a subscribe has been waiting for its answer while nothing came (ms). It may wait for one that is catching up. */
  get waits(): number {
    return this.#flight && this.#subscriptions.groups().length === 0 ? this.now() - this.#heardAt : 0;
  }

  /** Channels that somebody wants. */
  get wanted(): string[] {
    return this.#subscriptions.pick(() => true).map(({ pattern }) => pattern);
  }

  /** Whether every channel that is not refused is live, and every last value has come. */
  get caughtUp(): boolean {
    if (!this.#line || this.#flight || this.#position.frozen || this.#subscriptions.groups().length > 0) return false;
    return this.#subscriptions.pick(({ state, owed }) => state === 'new' || (state === 'held' && owed.size > 0)).length === 0;
  }

  /** Channels that are wanted and refused. */
  get rejected(): string[] {
    return this.#subscriptions.pick(({ state }) => state === 'rejected').map(({ pattern }) => pattern);
  }

  /** Channels that are acknowledged, and on which nothing has come yet. */
  get silent(): string[] {
    return this.#subscriptions.pick(({ state, heard }) => state === 'held' && !heard).map(({ pattern }) => pattern);
  }

  subscribe(channels: readonly string[], receive: (message: Message) => void, options: SubscribeOptions): Ending {
    const handler = new Handler([...new Set(channels)], receive, options);
    this.#subscriptions.add(handler);
    this.#flushSoon();
    // Its channels may be live already.
    if (options.onState) queueMicrotask(() => handler.report(this.#subscriptions.status(handler)));
    const end = (): void => {
      this.#subscriptions.remove(handler, this.now());
      this.#flushSoon();
    };
    return Object.assign(end, { status: () => this.#subscriptions.status(handler) });
  }

  // ---- the line ------------------------------------------------------------------------------------------------

  /** A line takes commands from now on. */
  opened(line: Line): void {
    this.#line = line;
    this.#pongsLocate = false;
    this.#paidAt = 0;
    this.#flush();
  }

  /** The line has ended: what it held has to be asked for again. */
  ended(): void {
    this.#position.freeze();
    this.#subscriptions.release();
    this.#line = this.#flight = null;
    for (const entry of this.#subscriptions.entries.values()) entry.state = 'new';
    this.#leave();
    this.#subscriptions.report();
  }

  /** A ping is about to be sent after a silence. Gateways whose pongs carry no offset are asked for it, so that the cursor
   * of quiet channels stays recent. */
  locate(): void {
    if (this.#pongsLocate || this.#flight || this.#position.frozen) return;
    this.#line?.send({ type: 'subscribe', id: ++this.#id, channels: [] });
  }

  // ---- commands ------------------------------------------------------------------------------------------------

  /** Several changes in one turn become one command. */
  #flushSoon(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    queueMicrotask(() => {
      this.#scheduled = false;
      this.#flush();
    });
  }

  #flushIn(ms: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#flush(), ms);
  }

  /** Takes what a command costs; false when it has to wait, with all that comes to be wanted meanwhile. */
  #pays(): boolean {
    const now = this.now();
    const wait = this.#paidAt - now - Math.max(0, AHEAD_MS - this.#cost);
    if (wait > 0) this.#flushIn(wait);
    else this.#paidAt = Math.max(this.#paidAt, now) + this.#cost;
    return wait <= 0;
  }

  #flush(): void {
    this.#leave();
    if (!this.#line || this.#flight) return;
    const fresh = this.#subscriptions.pick(({ state }) => state === 'new');
    for (const entry of fresh) entry.joined ||= this.#given;
    this.#given &&= fresh.length === 0;
    const resuming = fresh.filter(({ joined }) => joined && this.#position.frozen);
    if (resuming.length > 0) return this.#ask(resuming, this.#position.frozen);
    if (!this.#given) this.#position.frozen = null;
    // Last values of channels that are still catching up wait until that is done: they would overtake it.
    const wanted = this.#subscriptions.pick(({ state, owed, group }) => state === 'new' || (state === 'held' && owed.size > 0 && !group));
    const kind = ({ state, owed }: Entry): string => state + (owed.size > 0);
    const [first] = wanted;
    if (!first) return this.settled();
    this.#ask(
      wanted.filter((entry) => kind(entry) === kind(first)),
      null,
    );
  }

  /** Gives up what nobody has wanted for a moment. */
  #leave(): void {
    const now = this.now();
    const idle: string[] = [];
    for (const { pattern, handlers, state, idleAt } of this.#subscriptions.entries.values()) {
      if (handlers.size > 0 || state === 'asked') continue;
      if (state !== 'held') this.#subscriptions.drop(pattern);
      else if (now - idleAt < LINGER_MS) this.#flushIn(idleAt + LINGER_MS - now);
      else idle.push(pattern);
    }
    for (const channels of chunks(idle, this.#commandBytes - ENVELOPE)) {
      if (!this.#pays()) return;
      this.#line?.send({ type: 'unsubscribe', channels });
      for (const pattern of channels) this.#subscriptions.drop(pattern);
      this.#subscriptions.retry(NO_PLACE, channels.length);
      // Their last messages are under way, and look like those of commands that are catching up.
      for (const group of this.#subscriptions.groups()) group.blind = true;
    }
  }

  #ask(entries: Entry[], resume: Cursor | null): void {
    if (!this.#pays()) return;
    const [channels = []] = chunks(
      entries.map(({ pattern }) => pattern),
      this.#commandBytes - ENVELOPE,
    );
    const asked = entries.slice(0, channels.length);
    for (const entry of asked) if (entry.state === 'new') entry.state = 'asked';
    const snapshot = asked.some((entry) => (resume ? hasValues(entry).length : entry.owed.size) > 0);
    const command: SubscribeCommand = { type: 'subscribe', id: ++this.#id, channels, batch: this.options.batch };
    if (resume) command.resume = resume;
    if (snapshot) command.snapshot = true;
    this.#flight = { command, entries: asked };
    this.#heardAt = this.now();
    this.#line?.send(command);
  }

  // ---- pushes --------------------------------------------------------------------------------------------------

  greeted({ epoch, limits }: Push): void {
    const { commandBytes, commandsPerSecond } = Object(limits) as Push;
    if (isOffset(commandBytes) && commandBytes > 2 * ENVELOPE) this.#commandBytes = commandBytes;
    if (isOffset(commandsPerSecond) && commandsPerSecond > 0) this.#cost = COMMANDS_MS / commandsPerSecond;
    if (!isText(epoch) || epoch === this.#position.epoch) return;
    this.#forget();
    this.#position.epoch = epoch;
  }

  /** Offsets from before mean nothing any more. */
  #forget(): void {
    this.#subscriptions.release();
    this.#position.forget();
    this.#ledger.clear();
    this.#deletions.clear();
    for (const entry of this.#subscriptions.entries.values()) {
      entry.promised = undefined;
      for (const handler of entry.handlers) handler.forget();
    }
  }

  acknowledged({ id, subscribed, rejected, recovered, offset }: Push): void {
    const flight = id === undefined || id === this.#flight?.command.id ? this.#flight : null;
    const channels = list(subscribed).filter(isText);
    const refusals = list(rejected).map(Object) as Push[];
    const position = isOffset(offset) ? offset : 0;
    // Without channels it is the answer to "where are we".
    const some = channels.length > 0;
    if (some) this.#hold(channels, flight, position, recovered, id === undefined);
    else if (!flight) this.#position.locate(position);
    this.#reject(refusals, flight);
    if (some) this.events.emit({ type: 'subscribed', channels, offset: position, ...(typeof recovered === 'boolean' && { recovered }) });
    this.#report(refusals);
    this.#flush();
  }

  /** These channels are delivered from a position on, or from where they were before when all of it was recovered. */
  #hold(channels: string[], flight: Flight | null, position: number, recovered: unknown, whole: boolean): void {
    const { cursor } = this;
    // Behind where we were, in the same epoch: a cursor from a future that never was.
    if (recovered === false && cursor?.epoch === this.#position.epoch && position < cursor.offset) this.#forget();
    // Only a one-way line answers without an id: what it brings from now on replaces everything from before.
    if (whole) this.#subscriptions.release();
    const { id, resume, snapshot } = flight?.command ?? {};
    // A command that is catching up may be behind for a while; everything else is live at once, also one for last values.
    const high = !whole && flight?.entries[0]?.state === 'held' ? Number.POSITIVE_INFINITY : position;
    const group = resume || snapshot || (whole && recovered !== undefined) ? { id, high } : undefined;
    this.#position.raise(position);
    const entries = channels.flatMap((channel) => this.#subscriptions.entries.get(channel) ?? []);
    for (const entry of entries.filter(({ state }) => state !== 'new')) {
      if (recovered === false) this.#lost(entry);
      // To those who resume last values come only when something is missing.
      if (snapshot && (recovered === false || (!resume && flight?.entries.includes(entry)))) entry.serving = new Set(entry.owed);
      if (group) entry.group = group;
      entry.state = 'held';
      entry.joined = true;
      entry.promised ??= position;
    }
  }

  /** Part of what an entry was promised is missing: it starts over, with last values. */
  #lost(entry: Entry): void {
    entry.promised = undefined;
    for (const handler of hasValues(entry)) entry.owed.add(handler);
  }

  #reject(refusals: Push[], flight: Flight | null): void {
    for (const { channel, code } of refusals) this.#subscriptions.reject(this.#subscriptions.entries.get(channel as string), String(code));
    if (!flight) return;
    this.#flight = null;
    // Not in either list: the list of rejections is bounded.
    for (const entry of flight.entries) {
      if (entry.state !== 'asked') continue;
      const { code } = refusals.at(-1) ?? {};
      this.#subscriptions.reject(entry, String(code));
      refusals.push({ channel: entry.pattern, code });
    }
  }

  /** Reports refused channels to the application, and each subscription its state. */
  #report(refusals: Push[]): void {
    for (const { channel, code } of refusals) this.events.emit({ type: 'rejected', channel: String(channel), code: String(code) });
    this.#subscriptions.report();
    if (!refusals.some(({ code }) => code === POD_FULL)) return;
    clearTimeout(this.#later);
    this.#later = setTimeout(() => {
      this.#subscriptions.retry(POD_FULL);
      this.#flush();
    }, POD_FULL_MS);
  }

  /** A token that came later does not allow these channels. */
  unsubscribed({ channels, reason }: Push): void {
    const refusals = list(channels).map((channel) => ({ channel, code: reason })) as Push[];
    this.#reject(refusals, null);
    this.#subscriptions.retry(NO_PLACE, refusals.length);
    this.#report(refusals);
    this.#flushSoon();
  }

  /** A command has caught up, and its channels are live. Without an id: all channels. */
  live({ id, offset }: Push): void {
    if (!isOffset(offset)) return;
    this.#subscriptions.release(id, true);
    this.#position.raise(offset);
    this.#heardAt = this.now();
    this.#flushSoon();
  }

  /** Everything up to `offset` has been sent on all channels. While some are still to be resumed, the gateway may not know
   * of them yet. */
  pong({ offset }: Push): void {
    this.#pongsLocate = isOffset(offset);
    if (isOffset(offset) && !this.#position.frozen) this.#position.locate(offset);
  }

  refused({ id, code, message }: Push): void {
    this.events.emit({ type: 'error', code: String(code), message: String(message) });
    const flight = this.#flight;
    if (!flight || id !== flight.command.id) return;
    const asked = flight.entries.filter(({ state }) => state === 'asked');
    // One of them is done soon; what is still wanted then is asked for again.
    const busy = code === 'too_many_replays';
    if (busy) {
      this.#paidAt = this.now() + AHEAD_MS + REPLAYS_BUSY_MS;
      for (const entry of asked) entry.state = 'new';
    } else for (const { owed } of flight.entries) owed.clear();
    this.acknowledged({ id, rejected: busy ? [] : asked.map(({ pattern }) => ({ channel: pattern, code })) });
  }

  gap({ channel, from, to, reason }: Push): void {
    if (!isText(channel) || !isOffset(from) || !isOffset(to)) return;
    if (/[*>]/.test(channel)) {
      for (const entry of this.#subscriptions.entries.values())
        if (entry.promised !== undefined && matches(entry.pattern, channel)) entry.promised = Math.max(entry.promised, to);
    } else this.#ledger.record(channel, 0, to);
    this.events.emit({ type: 'gap', channel, from, to, reason: reason as GapReason });
  }

  message(push: Push): void {
    // Closed by a handler of a message before, in the same frame: the next line brings this one.
    if (!this.#line) return;
    const { channel, offset, prev, deleted } = push;
    if (!isText(channel) || !isOffset(offset)) {
      return this.events.emit({ type: 'error', code: 'bad_message', message: 'a message without channel or offset' });
    }
    const message = decoded(push);
    const route = this.#subscriptions.route(channel);
    this.#heardAt = this.now();
    if (message.snapshot) {
      if (deleted || offset <= (this.#deletions.get(channel) ?? 0)) return;
      // Nobody has asked for it, and it is after all that came: it waited for the rate of its channel when the line ended, and
      // is a message like any other. Where several commands are catching up it may be ahead of another.
      const alone = route.every(
        ({ group, serving, promised }) => group === route[0]?.group && serving.size === 0 && offset > (promised ?? offset),
      );
      const waited = route.length > 0 && alone && offset > this.#ledger.last(channel);
      if (waited) this.#ledger.record(channel, offset);
      return this.#subscriptions.deliver(route, message, waited);
    }
    if (offset <= this.#ledger.last(channel)) return this.events.emit({ type: 'duplicate', channel, offset });
    const promised = Math.min(...route.map((entry) => entry.promised ?? Number.POSITIVE_INFINITY));
    const hole = this.#ledger.hole(channel, Number(prev), promised);
    this.#ledger.record(channel, offset);
    if (deleted) remember(this.#deletions, channel, offset);
    // It proves how far a command has caught up only when nothing else can have brought it.
    const held = route.filter(({ state }) => state === 'held');
    const group = held[0]?.group;
    // Before the handlers: one that stores its work and the cursor together does not do this work again.
    if (group && !group.blind && held.every((entry) => entry.group === group)) group.high = Math.max(group.high, offset);
    this.#position.raise(offset);
    if (hole) this.events.emit({ type: 'gap', channel, ...hole, reason: 'missed' });
    this.#subscriptions.deliver(route, message);
  }
}

/** A message as handlers get it. A deletion has no data, whatever else it holds. */
function decoded(push: Push): Message {
  const { deleted, encoding, ...rest } = push;
  if (deleted) return { ...rest, data: undefined, deleted } as unknown as Message;
  return (encoding === 'base64' ? { ...push, data: bytes(push.data) } : push) as unknown as Message;
}

/** The subscriptions of an entry that have last values. */
const hasValues = ({ handlers }: Entry): Handler[] => [...handlers].filter(({ options }) => options.snapshot);
