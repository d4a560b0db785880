/**
 * Who wants what. One entry per pattern on the wire, with any number of local subscriptions behind it: two of the same
 * channel are one for the gateway. A message goes to each subscription once, however many of its patterns match.
 */
import { matches } from './channels.js';
import { call } from './emitter.js';
import type { Group } from './position.js';
import type { Message, SubscribeOptions } from './types.js';

/** What the gateway knows of a pattern: nothing, asked for it, acknowledged, or refused it. */
export type EntryState = 'new' | 'asked' | 'held' | 'rejected';

export interface Entry {
  readonly pattern: string;
  readonly handlers: Set<Handler>;
  state: EntryState;
  /** Last values are wanted, or have been asked for. */
  snapshot: boolean;
  /** It takes part in the cursor: after a reconnect it is resumed, not begun anew. */
  joined: boolean;
  /** Everything after this offset was promised by an acknowledgement. */
  promised: number | undefined;
  /** Where those are that were asked for together with it. */
  group?: Group;
}

/** One local subscription. */
export class Handler {
  /** Offsets that a subscription with a snapshot has had, by channel: a last value may come twice. */
  readonly #had = new Map<string, number>();
  closed = false;

  constructor(
    readonly patterns: readonly string[],
    readonly receive: (message: Message) => void,
    readonly options: SubscribeOptions,
  ) {}

  deliver(message: Message): void {
    if (this.closed) return;
    if (this.options.snapshot) {
      if (message.offset <= (this.#had.get(message.channel) ?? 0)) return;
      this.#had.set(message.channel, message.offset);
      // Only the first messages of a subscription can be such a pair; what is forgotten is old.
      if (this.#had.size > MAX_REMEMBERED) this.#had.delete(this.#had.keys().next().value as string);
    } else if (message.snapshot) return;
    call(this.receive, message);
  }

  /** Offsets mean something else now. */
  forget(): void {
    this.#had.clear();
  }
}

const MAX_REMEMBERED = 4096;
/** Channels whose entries are remembered; beyond it they are looked up anew. */
const MAX_ROUTES = 4096;

export class Subscriptions {
  readonly entries = new Map<string, Entry>();
  readonly #routes = new Map<string, Entry[]>();

  /** Adds a subscription. Returns whether the gateway has to be told. */
  add(handler: Handler): boolean {
    let news = false;
    for (const pattern of handler.patterns) {
      let entry = this.entries.get(pattern);
      if (!entry) {
        entry = { pattern, handlers: new Set(), state: 'new', snapshot: false, joined: false, promised: undefined };
        this.entries.set(pattern, entry);
        this.#routes.clear();
      }
      entry.handlers.add(handler);
      if (entry.state === 'rejected') entry.state = 'new';
      entry.snapshot ||= handler.options.snapshot === true;
      news ||= entry.state === 'new';
    }
    return news;
  }

  /** Takes a subscription out. Returns the patterns that nobody wants any more. */
  remove(handler: Handler): Entry[] {
    const orphans: Entry[] = [];
    for (const pattern of handler.patterns) {
      const entry = this.entries.get(pattern);
      if (entry?.handlers.delete(handler) && entry.handlers.size === 0) orphans.push(entry);
    }
    return orphans;
  }

  /** Forgets a pattern that nobody wants. */
  drop(entry: Entry): void {
    this.entries.delete(entry.pattern);
    this.#routes.clear();
  }

  /** The entries that a channel belongs to. */
  route(channel: string): readonly Entry[] {
    let route = this.#routes.get(channel);
    if (!route) {
      route = [...this.entries.values()].filter((entry) => matches(entry.pattern, channel));
      if (this.#routes.size >= MAX_ROUTES) this.#routes.clear();
      this.#routes.set(channel, route);
    }
    return route;
  }

  /** Hands a message to every subscription behind these entries, once. */
  deliver(route: readonly Entry[], message: Message): void {
    const handlers = route.length === 1 ? (route[0] as Entry).handlers : new Set(route.flatMap((entry) => [...entry.handlers]));
    for (const handler of [...handlers]) handler.deliver(message);
  }

  in(...states: EntryState[]): Entry[] {
    return [...this.entries.values()].filter((entry) => entry.handlers.size > 0 && states.includes(entry.state));
  }
}
