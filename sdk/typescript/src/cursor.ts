/**
 * Which offsets have been seen: one number for the whole connection (the cursor), one per channel to tell duplicates
 * and holes. Pure and bounded: channels not heard of for long are forgotten, oldest first, and what is forgotten can
 * at worst go unnoticed; it is never reported wrongly and never dropped.
 */
import type { Message } from './types.js';

interface Seen {
  /** The last that was delivered. */
  offset: number;
  /** The gateway has told of everything missing up to here. */
  told: number;
  /** Kept for channels with a snapshot, for those who subscribe later. */
  message: Message | undefined;
}

/** Channels remembered at most. */
const MAX_CHANNELS = 4096;

export class Ledger {
  readonly #seen = new Map<string, Seen>();
  /** Unknown channels may have been seen up to here. */
  #forgotten = 0;

  constructor(readonly limit = MAX_CHANNELS) {}

  clear(): void {
    this.#seen.clear();
    this.#forgotten = 0;
  }

  last(channel: string): number {
    return this.#seen.get(channel)?.offset ?? 0;
  }

  /** A message of the channel is about to be delivered. */
  record(channel: string, offset: number, message?: Message): void {
    const before = this.#seen.get(channel);
    this.#put(channel, { offset: Math.max(offset, this.last(channel)), told: before?.told ?? 0, message: message ?? before?.message });
  }

  /** The gateway says what is missing, up to `to`. Messages from before may still come. */
  tell(channel: string, to: number): void {
    const before = this.#seen.get(channel);
    this.#put(channel, { offset: this.last(channel), told: Math.max(to, before?.told ?? 0), message: before?.message });
  }

  #put(channel: string, seen: Seen): void {
    this.#seen.delete(channel);
    this.#seen.set(channel, seen);
    if (this.#seen.size <= this.limit) return;
    const [oldest, { offset, told }] = this.#seen.entries().next().value as [string, Seen];
    this.#seen.delete(oldest);
    this.#forgotten = Math.max(this.#forgotten, offset, told);
  }

  /** The hole before a message, when `prev` tells of one. Everything after `promised` was to be delivered. */
  hole(channel: string, prev: number, promised: number): { from: number; to: number } | null {
    const seen = this.#seen.get(channel);
    const known = Math.max(promised, seen ? Math.max(seen.offset, seen.told) : this.#forgotten);
    return prev > known ? { from: known + 1, to: prev } : null;
  }

  /** The last messages that were kept. */
  *kept(): Iterable<Message> {
    for (const { message } of this.#seen.values()) if (message) yield message;
  }
}
