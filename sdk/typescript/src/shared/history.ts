/** What a hub can still give a tab: the last messages, and since when it has had each pattern without a hole. Pure. */
import type { Push } from '../push.js';
import type { Cursor, EventOf } from '../types.js';
import { Ring } from './ring.js';

export class History {
  readonly #ring: Ring;
  /** By pattern: everything after this offset came here. */
  readonly #since = new Map<string, number>();
  #last: Push | undefined;

  constructor(ring = new Ring()) {
    this.#ring = ring;
  }

  /** Keeps a message, or a gap under the offset at which it ends; once, however many tabs it is for. */
  keep(channel: string, offset: number, push: Push): void {
    if (this.#last === push) return;
    this.#last = push;
    this.#ring.add(channel, offset, push);
  }

  /** The gateway has acknowledged these. */
  subscribed({ channels, offset, recovered }: Pick<EventOf<'subscribed'>, 'channels' | 'offset' | 'recovered'>): void {
    for (const channel of channels) if (recovered === false || !this.#since.has(channel)) this.#since.set(channel, offset);
  }

  /** Nobody has this pattern any more. */
  drop(pattern: string): void {
    this.#since.delete(pattern);
  }

  clear(): void {
    this.#ring.clear();
    this.#since.clear();
  }

  /** From where on everything of these patterns is here; `resume.offset` when nothing is missing. */
  start(resume: Cursor, patterns: readonly string[], cursor: Cursor): number {
    if (!isBefore(resume, cursor)) return cursor.offset;
    const since = patterns.map((pattern) => this.#since.get(pattern) ?? cursor.offset);
    return Math.min(cursor.offset, Math.max(resume.offset, this.#ring.floor, ...since));
  }

  /** What belongs to any of these patterns and is after an offset. */
  after(offset: number, patterns: readonly string[]): Push[] {
    return this.#ring.after(offset, patterns);
  }
}

/** Whether one cursor is a place before another, or the same. */
const isBefore = (one: Cursor, other: Cursor): boolean => one.epoch === other.epoch && one.offset <= other.offset;

/** What a tab has missed that is no longer here, as a gateway reports it. */
export function lost(resume: Cursor, start: number, cursor: Cursor, channels: readonly string[]): Push[] {
  const [from, reason] = isBefore(resume, cursor) ? [resume.offset + 1, 'missed'] : [0, 'epoch'];
  return channels.map((channel) => ({ type: 'gap', channel, from, to: start, reason }));
}

/** The least of these cursors: who begins there misses nothing for any of them. */
export function oldest(cursors: readonly (Cursor | null)[]): Cursor | null {
  const [first, ...others] = cursors.flatMap((cursor) => cursor ?? []);
  if (!first) return null;
  const same = others.filter(({ epoch }) => epoch === first.epoch);
  return { epoch: first.epoch, offset: Math.min(first.offset, ...same.map(({ offset }) => offset)) };
}
