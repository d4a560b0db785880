/** One tab at the hub: its subscriptions, its commands that wait, and what it has not taken yet. */
import type { Push } from '../push.js';
import type { SubscribeCommand } from '../transport.js';
import type { Message, Subscription, SubscriptionStatus } from '../types.js';
import { sizeOf } from './ring.js';
import type { Port, ToHub, ToTab } from './wire.js';

/** Messages and bytes that a tab may be behind, before it is left alone until it has taken them. */
export const SEAT_LIMITS = { messages: 10_000, bytes: 16 << 20 };

export interface Wanted {
  subscription: Subscription;
  /** The line that asked for it. */
  line: number;
  /** A subscribe of this line was answered: messages are passed on. */
  open: boolean;
  /** It has last values. */
  snapshot: boolean;
}

/** A subscribe that is not done: not answered, or its last values are still to come. */
export interface Waiting {
  command: SubscribeCommand;
  serving: boolean;
  since: number;
}

export class Seat {
  line = 0;
  hello: Extract<ToHub, { type: 'hello' }> | undefined;
  readonly wanted = new Map<string, Wanted>();
  waiting: Waiting[] = [];
  /** The tab has not taken what was sent: nothing more is, until it has. */
  stalled = false;
  #out: Push[] = [];
  #messages: Push[] = [];
  #posted = new WeakSet<object>();
  #untaken = { messages: 0, bytes: 0 };
  /** Sizes of what was sent and not taken, batch by batch. */
  readonly #sizes: { count: number; bytes: number }[] = [];
  #pending = { messages: 0, bytes: 0 };
  #scheduled = false;

  constructor(
    readonly tab: string,
    readonly port: Port<ToTab>,
    readonly heardAt: () => number | null,
    readonly limits = SEAT_LIMITS,
  ) {}

  /** Another line: what was sent on the one before counts no longer. */
  begin(line: number): void {
    this.line = line;
    this.waiting = [];
    this.#out = [];
    this.#messages = [];
    this.#pending = { messages: 0, bytes: 0 };
    this.#posted = new WeakSet();
    for (const wanted of this.wanted.values()) wanted.open = false;
  }

  /** A live message, once, unless the tab is too slow for it. */
  message(message: Message): void {
    if (this.stalled || this.#posted.has(message)) return;
    const bytes = this.#untaken.bytes + this.#pending.bytes;
    const isFull = this.#untaken.messages + this.#pending.messages >= this.limits.messages || bytes >= this.limits.bytes;
    // Last values come once for each channel; a tab that has too few of them would ask for them again.
    if (isFull && !message.snapshot) this.stalled = true;
    else this.#take(message as unknown as Push);
  }

  /** Messages from the ring; they are bounded by it. */
  replay(pushes: readonly Push[]): void {
    for (const push of pushes) this.#take(push);
  }

  push(push: Push): void {
    if (this.stalled) return;
    this.#seal();
    this.#out.push(push);
    this.#flushSoon();
  }

  /** The tab has taken a batch; true when it was stalled and has taken everything. */
  taken(count: number): boolean {
    if (!count) return false;
    const batch = this.#sizes.shift();
    this.#untaken.messages -= batch?.count ?? 0;
    this.#untaken.bytes -= batch?.bytes ?? 0;
    return this.stalled && this.#sizes.length === 0;
  }

  status(pattern: string): SubscriptionStatus {
    return this.wanted.get(pattern)?.subscription ?? { state: 'ended', rejected: {} };
  }

  #take(push: Push): void {
    if (push.type !== 'message') return this.push(push);
    if (this.#posted.has(push)) return;
    this.#posted.add(push);
    this.#messages.push(push);
    this.#pending.messages += 1;
    this.#pending.bytes += sizeOf(push);
    this.#flushSoon();
  }

  /** Messages in a row become one push. */
  #seal(): void {
    if (this.#messages.length > 0) this.#out.push({ type: 'batch', messages: this.#messages });
    this.#messages = [];
  }

  /** What comes in one turn goes out in one. */
  #flushSoon(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    queueMicrotask(() => {
      this.#scheduled = false;
      this.#seal();
      if (this.#out.length === 0) return;
      const { messages: count, bytes } = this.#pending;
      if (count) this.#sizes.push({ count, bytes });
      this.#untaken.messages += count;
      this.#untaken.bytes += bytes;
      this.port.post({ type: 'pushes', line: this.line, pushes: this.#out, count, heardAt: this.heardAt() });
      this.#out = [];
      this.#pending = { messages: 0, bytes: 0 };
    });
  }
}
