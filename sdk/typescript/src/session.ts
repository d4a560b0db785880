/**
 * The protocol above any line: what is subscribed, where we are in the stream, what has been missed. It sends one
 * subscribe at a time: first everything from the cursor, then what is new.
 */
import { chunks } from './channels.js';
import { Ledger } from './cursor.js';
import type { Emitter } from './emitter.js';
import { Position } from './position.js';
import { bytes, isOffset, isText, type Push } from './push.js';
import { type Entry, Handler, Subscriptions } from './subscriptions.js';
import type { Line, SubscribeCommand } from './transport.js';
import type { Cursor, GapReason, Message, SubscribeOptions } from './types.js';

/** Bytes of a command besides its channels. */
const ENVELOPE = 512;
/** The least that a gateway takes in one command (bytes), for as long as it has not told. */
const COMMAND_BYTES = 4096;
/** Too many replays at once: one of them is done soon. */
const REPLAYS_BUSY_MS = 1000;
interface Flight {
  id: number;
  entries: Set<Entry>;
  looksBack: boolean;
  at: number;
}

export class Session {
  readonly #subscriptions = new Subscriptions();
  readonly #ledger = new Ledger();
  #line: Line | null = null;
  readonly #position: Position;
  /** The cursor was given from outside: the first channels go on from it, too. */
  #given: boolean;
  #resuming: Entry[] = [];
  #flight: Flight | null = null;
  #id = 0;
  #commandBytes = COMMAND_BYTES;
  #scheduled = false;

  constructor(
    readonly events: Emitter,
    readonly options: { cursor: Cursor | null; batch: boolean },
    /** Everything wanted is acknowledged. */
    readonly settled: () => void,
    readonly now: () => number = Date.now,
  ) {
    this.#position = new Position(options.cursor);
    this.#given = options.cursor !== null;
  }

  get cursor(): Cursor | null {
    return this.#position.cursor;
  }

  /** How long a subscribe has been waiting for its answer (ms). */
  get waits(): number {
    return this.#flight ? this.now() - this.#flight.at : 0;
  }

  /** Whether anybody wants anything. */
  get wanted(): boolean {
    return this.#subscriptions.in('new', 'asked', 'held', 'rejected').length > 0;
  }

  subscribe(channels: readonly string[], receive: (message: Message) => void, options: SubscribeOptions): () => void {
    const handler = new Handler([...new Set(channels)], receive, options);
    const late = options.snapshot ? this.#keptFor(handler) : [];
    if (this.#subscriptions.add(handler)) this.#flushSoon();
    queueMicrotask(() => {
      for (const message of late) handler.deliver({ ...message, snapshot: true });
    });
    return () => {
      handler.closed = true;
      if (this.#subscriptions.remove(handler).length > 0) this.#flushSoon();
    };
  }

  /** Last values that earlier subscriptions of the same patterns were given. */
  #keptFor({ patterns }: Handler): Message[] {
    const served = new Set(patterns.map((pattern) => this.#subscriptions.entries.get(pattern)).filter((entry) => entry));
    if (served.size === 0) return [];
    return [...this.#ledger.kept()].filter(({ channel }) => this.#subscriptions.route(channel).some((entry) => served.has(entry)));
  }

  // ---- the line ------------------------------------------------------------------------------------------------

  /** A line takes commands from now on. */
  opened(line: Line): void {
    this.#line = line;
    this.#resuming = this.#position.frozen ? this.#subscriptions.in('new').filter((entry) => entry.joined) : [];
    this.#flush();
  }

  /** The line has ended: what it held has to be asked for again. */
  ended(): void {
    this.#position.freeze();
    this.#line = null;
    this.#flight = null;
    this.#resuming = [];
    for (const entry of this.#subscriptions.entries.values()) {
      if (entry.handlers.size === 0) this.#subscriptions.drop(entry);
      else entry.state = 'new';
    }
  }

  /** Asks where the stream is: keeps the cursor of quiet channels young, and one position of many. */
  locate(silent: boolean): void {
    if (this.#flight || this.#position.frozen || !this.#line || !(silent || this.#position.isDue(this.now()))) return;
    this.#line.send({ type: 'subscribe', id: ++this.#id, channels: [] });
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

  #flush(): void {
    this.#dropOrphans();
    if (!this.#line || this.#flight) return;
    if (this.#given) this.#begin();
    this.#resuming = this.#resuming.filter((entry) => entry.handlers.size > 0);
    if (this.#resuming.length === 0 && !this.#given) this.#position.frozen = null;
    if (this.#resuming.length > 0) return this.#ask(this.#resuming, this.#position.frozen);
    const fresh = this.#subscriptions.in('new');
    const first = fresh[0];
    if (first)
      return this.#ask(
        fresh.filter((entry) => entry.snapshot === first.snapshot),
        null,
      );
    this.settled();
  }

  /** The first channels of a session that was given a cursor. */
  #begin(): void {
    const first = this.#subscriptions.in('new');
    if (first.length === 0) return;
    this.#given = false;
    for (const entry of first) entry.joined = true;
    this.#resuming = first;
  }

  #dropOrphans(): void {
    const orphans = [...this.#subscriptions.entries.values()].filter((entry) => entry.handlers.size === 0);
    for (const entry of orphans) this.#subscriptions.drop(entry);
    const held = orphans.filter(({ state, joined }) => joined || state !== 'new').map(({ pattern }) => pattern);
    if (held.length === 0) return;
    for (const part of chunks(held, this.#commandBytes - ENVELOPE)) this.#line?.send({ type: 'unsubscribe', channels: part });
  }

  #ask(entries: Entry[], resume: Cursor | null): void {
    const [channels = []] = chunks(
      entries.map(({ pattern }) => pattern),
      this.#commandBytes - ENVELOPE,
    );
    const asked = entries.slice(0, channels.length);
    for (const entry of asked) entry.state = 'asked';
    const command: SubscribeCommand = { type: 'subscribe', id: ++this.#id, channels, batch: this.options.batch };
    if (resume) command.resume = resume;
    if (asked.some(({ snapshot }) => snapshot)) command.snapshot = true;
    this.#flight = { id: this.#id, entries: new Set(asked), looksBack: resume !== null || command.snapshot === true, at: this.now() };
    this.#line?.send(command);
  }

  // ---- pushes --------------------------------------------------------------------------------------------------

  greeted({ epoch, limits }: Push): void {
    const told = (limits as Push | undefined)?.commandBytes;
    if (isOffset(told) && told > 2 * ENVELOPE) this.#commandBytes = told;
    if (!isText(epoch) || epoch === this.#position.epoch) return;
    if (this.#position.epoch !== '') this.#forget();
    this.#position.epoch = epoch;
  }

  /** Offsets from before mean nothing any more. */
  #forget(): void {
    this.#position.forget();
    this.#ledger.clear();
    for (const entry of this.#subscriptions.entries.values()) {
      entry.promised = undefined;
      for (const handler of entry.handlers) handler.forget();
    }
  }

  acknowledged({ id, subscribed, rejected, recovered, offset }: Push): void {
    const flight = this.#flight && (id === undefined || id === this.#flight.id) ? this.#flight : null;
    const channels = (Array.isArray(subscribed) ? subscribed : []).filter(isText);
    const position = isOffset(offset) ? offset : 0;
    // Behind where we were, in the same epoch: a cursor from a future that never was.
    const { frozen, epoch } = this.#position;
    if (recovered === false && frozen?.epoch === epoch && position < frozen.offset) this.#forget();
    // Only a line without a way back answers without an id: what it brings from now on replaces all of before.
    const whole = id === undefined && channels.length > 0;
    if (whole) this.#position.restart();
    this.#hold(channels, flight, position, recovered);
    this.#reject(flight?.entries ?? new Set(), rejected);
    // Without channels it is the answer to "where are we", or a long-poll's.
    if (channels.length === 0 && !flight) this.#position.locate(position);
    if (channels.length > 0)
      this.events.emit({ type: 'subscribed', channels, offset: position, ...(typeof recovered === 'boolean' && { recovered }) });
    if (flight) this.#answered(flight.entries);
  }

  /** These channels are delivered from `position` on, or from where they were before when all of it was recovered. */
  #hold(channels: string[], flight: Flight | null, position: number, recovered: unknown): void {
    // What looks back may be behind for a while; everything else is live at once.
    const group = flight?.looksBack ? this.#position.begin(position, this.now()) : undefined;
    this.#position.raise(position);
    for (const channel of channels) {
      const entry = this.#subscriptions.entries.get(channel);
      // One of this name that was asked for after the other of this name was given up has its own answer to come.
      if (!entry || !(flight?.entries.has(entry) || entry.state === 'held')) continue;
      if (group && (entry.state === 'asked' || !this.#position.has(entry.group))) entry.group = group;
      entry.state = 'held';
      entry.joined = true;
      if (recovered === false || entry.promised === undefined) entry.promised = position;
    }
  }

  #reject(entries: Set<Entry>, rejected: unknown): void {
    for (const one of Array.isArray(rejected) ? rejected : []) {
      const { channel, code } = Object(one) as Push;
      if (!isText(channel)) continue;
      const entry = this.#subscriptions.entries.get(channel);
      if (entry) entry.state = 'rejected';
      this.events.emit({ type: 'rejected', channel, code: String(code) });
    }
    // Not in either list: the list of rejections is bounded.
    for (const entry of entries) if (entry.state === 'asked') entry.state = 'rejected';
  }

  /** A subscribe has its answer: on to the next. */
  #answered(entries: Set<Entry>): void {
    this.#flight = null;
    this.#resuming = this.#resuming.filter((entry) => !entries.has(entry));
    this.#flush();
  }

  refused({ id, code, message }: Push): void {
    this.events.emit({ type: 'error', code: String(code), message: String(message) });
    const flight = this.#flight;
    if (!flight || id !== flight.id) return;
    if (code === 'too_many_replays') {
      const line = this.#line;
      setTimeout(() => {
        if (this.#flight !== flight || this.#line !== line) return;
        this.#flight = null;
        this.#ask([...flight.entries], this.#position.frozen);
      }, REPLAYS_BUSY_MS);
      return;
    }
    const rejected = [...flight.entries].map(({ pattern }) => ({ channel: pattern, code }));
    this.#reject(flight.entries, rejected);
    this.#answered(flight.entries);
  }

  gap({ channel, from, to, reason }: Push): void {
    if (!isText(channel) || !isOffset(from) || !isOffset(to)) return;
    if (/[*>]/.test(channel)) {
      for (const entry of this.#subscriptions.entries.values())
        if (entry.promised !== undefined) entry.promised = Math.max(entry.promised, to);
    } else this.#ledger.tell(channel, to);
    this.events.emit({ type: 'gap', channel, from, to, reason: reason as GapReason });
  }

  message(push: Push): void {
    const { channel, offset, prev, encoding } = push;
    if (!isText(channel) || !isOffset(offset)) {
      return this.events.emit({ type: 'error', code: 'bad_message', message: 'a message without channel or offset' });
    }
    const message = (encoding === 'base64' ? { ...push, data: bytes(push.data) } : push) as unknown as Message;
    const route = this.#subscriptions.route(channel);
    const known = this.#ledger.last(channel);
    const keep = route.some((entry) => entry.snapshot || entry.pattern === channel) ? message : undefined;
    if (message.snapshot) {
      if (offset > known) this.#ledger.record(channel, offset, keep);
      return this.#subscriptions.deliver(route, message);
    }
    if (offset <= known) return this.events.emit({ type: 'duplicate', channel, offset });
    const promised = Math.min(...route.map((entry) => entry.promised ?? Number.POSITIVE_INFINITY));
    const hole = this.#ledger.hole(channel, isOffset(prev) ? prev : 0, promised);
    this.#ledger.record(channel, offset, keep);
    // Before the handlers: one that stores its work and the cursor together stores the cursor behind this message.
    this.#position.deliver(
      offset,
      route.map(({ group }) => group),
    );
    if (hole) this.events.emit({ type: 'gap', channel, ...hole, reason: 'missed' });
    this.#subscriptions.deliver(route, message);
  }
}
