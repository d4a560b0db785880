/**
 * Who wants what. One entry per pattern on the wire, with any number of local subscriptions behind it: two of the same
 * channel are one for the gateway. A message goes to each subscription once, however many of its patterns match.
 */
import { matches } from './channels.js';
import { remember } from './cursor.js';
import { call } from './emitter.js';
import type { Group } from './position.js';
import type { Message, SubscribeOptions, SubscriptionStatus } from './types.js';

/** What the gateway knows of a pattern: nothing, asked for it, acknowledged, or refused it. */
export type EntryState = 'new' | 'asked' | 'held' | 'rejected';

export interface Entry {
  readonly pattern: string;
  readonly handlers: Set<Handler>;
  /** Those who are still to get last values: until the command that asked for them is live. */
  readonly owed: Set<Handler>;
  /** Those for whom last values are under way. */
  serving: ReadonlySet<Handler>;
  state: EntryState;
  /** Why it is rejected. */
  code?: string;
  /** It takes part in the cursor: after a reconnect it is resumed, not begun anew. */
  joined: boolean;
  /** Everything after this offset was promised by an acknowledgement. */
  promised?: number | undefined;
  /** The command that is catching up for it, until that is live. */
  group?: Group | undefined;
  /** Something has come. */
  heard?: true;
  /** Since when nobody wants it. */
  idleAt: number;
}

/** One local subscription. */
export class Handler {
  /** Offsets that a subscription with a snapshot has had, by channel: a last value may come twice. */
  readonly #had = new Map<string, number>();
  closed = false;
  /** The status that was reported last. */
  #reported = '{"state":"pending","rejected":{}}';

  constructor(
    readonly patterns: readonly string[],
    readonly receive: (message: Message) => void,
    readonly options: SubscribeOptions,
  ) {}

  deliver(message: Message): void {
    if (this.closed) return;
    if (this.options.snapshot) {
      if (message.offset <= (this.#had.get(message.channel) ?? 0)) return;
      // Only the first messages of a subscription can be such a pair; what is forgotten is old.
      remember(this.#had, message.channel, message.offset);
    }
    call(this.receive, message);
  }

  /** Reports a change. */
  report(status: SubscriptionStatus): void {
    const text = JSON.stringify(status);
    if (this.closed || text === this.#reported) return;
    this.#reported = text;
    call(this.options.onState as (status: SubscriptionStatus) => void, status);
  }

  /** Offsets mean something else now. */
  forget(): void {
    this.#had.clear();
  }
}

const NOBODY: ReadonlySet<Handler> = new Set();

export class Subscriptions {
  readonly entries = new Map<string, Entry>();
  readonly #routes = new Map<string, Entry[]>();

  /** Adds a subscription. */
  add(handler: Handler): void {
    for (const pattern of handler.patterns) {
      let entry = this.entries.get(pattern);
      if (!entry) {
        entry = {
          pattern,
          handlers: new Set(),
          owed: new Set(),
          serving: NOBODY,
          state: 'new',
          joined: false,
          idleAt: 0,
        };
        this.entries.set(pattern, entry);
        this.#routes.clear();
      }
      entry.handlers.add(handler);
      if (handler.options.snapshot) entry.owed.add(handler);
      if (entry.state === 'rejected') entry.state = 'new';
    }
  }

  /** Takes a subscription out. */
  remove(handler: Handler, now: number): void {
    handler.closed = true;
    for (const pattern of handler.patterns) {
      const entry = this.entries.get(pattern);
      entry?.owed.delete(handler);
      if (entry?.handlers.delete(handler)) entry.idleAt = now;
    }
  }

  /** Forgets a pattern that nobody wants. */
  drop(pattern: string): void {
    this.entries.delete(pattern);
    this.#routes.clear();
  }

  /** Marks an entry as refused. */
  reject(entry: Entry | undefined, code: string): void {
    if (!entry) return;
    entry.state = 'rejected';
    entry.code = code;
  }

  /** Asks again for so many of those that were refused for this reason. */
  retry(code: string, count = Number.POSITIVE_INFINITY): void {
    const refused = this.pick((entry) => entry.state === 'rejected' && entry.code === code);
    for (const entry of refused.slice(0, count)) entry.state = 'new';
  }

  /** The status of a subscription. */
  status({ patterns, closed }: Handler): SubscriptionStatus {
    const entries = closed ? [] : patterns.flatMap((pattern) => this.entries.get(pattern) ?? []);
    const rejected: Record<string, string> = {};
    const states = new Set(entries.map(({ state }) => state));
    for (const { pattern, state, code = '' } of entries) if (state === 'rejected') rejected[pattern] = code;
    if (closed) return { state: 'ended', rejected };
    if (states.has('new') || states.has('asked')) return { state: 'pending', rejected };
    return { state: states.has('held') || states.size === 0 ? 'live' : 'rejected', rejected };
  }

  /** Reports their status to subscriptions that ask for it. */
  report(): void {
    for (const handler of new Set([...this.entries.values()].flatMap(({ handlers }) => [...handlers])))
      if (handler.options.onState) handler.report(this.status(handler));
  }

  /** The commands that are catching up; some of them several times. */
  groups(): Group[] {
    return [...this.entries.values()].flatMap(({ group }) => group ?? []);
  }

  /** This command no longer catches up (without an id: none does). `done`: it has brought everything. */
  release(id?: unknown, done?: boolean): void {
    for (const entry of this.entries.values()) {
      if (!entry.group || (id !== undefined && id !== entry.group.id)) continue;
      if (done) for (const handler of entry.serving) entry.owed.delete(handler);
      entry.group = undefined;
      entry.serving = NOBODY;
    }
  }

  /** The entries that a channel belongs to. */
  route(channel: string): readonly Entry[] {
    let route = this.#routes.get(channel);
    if (!route) {
      route = [...this.entries.values()].filter((entry) => matches(entry.pattern, channel));
      remember(this.#routes, channel, route);
    }
    return route;
  }

  /** Delivers a message to every subscription of these entries, once; a last value to those who asked for it, unless it is for all. */
  deliver(route: readonly Entry[], message: Message, forAll = !message.snapshot): void {
    for (const entry of route) entry.heard = true;
    const whom = forAll ? 'handlers' : 'serving';
    const handlers = route.length === 1 ? (route[0] as Entry)[whom] : new Set(route.flatMap((entry) => [...entry[whom]]));
    for (const handler of [...handlers]) handler.deliver(message);
  }

  /** The entries that somebody wants, of which this is true. */
  pick(test: (entry: Entry) => unknown): Entry[] {
    return [...this.entries.values()].filter((entry) => entry.handlers.size > 0 && test(entry));
  }
}
