/**
 * Where a connection is in the stream: one cursor for all channels, and never ahead of any of them.
 *
 * Until every channel that is to be resumed is acknowledged, the cursor stays where it was before the line ended.
 * Afterwards the channels of one command come in the order of the stream, but what one command brings may still be
 * behind what another brings: the gateway looks back for each by itself. So there is a position per command, and the
 * cursor is the least of them, until the gateway has said that nothing is behind. Pure: time comes in as a number.
 */
import type { Cursor } from './types.js';

/** The gateway is asked how far everything is so long after a subscribe (ms): most lookups are done within a second. */
const CAUGHT_UP_MS = 5_000;

/** The channels of one command: all of theirs up to `high` has come. */
export interface Group {
  high: number;
  readonly at: number;
}

export class Position {
  epoch = '';
  /** Where to resume, while not everything has been resumed. */
  frozen: Cursor | null;
  /** Highest offset of an acknowledgement or a message on this epoch; null before the first. */
  #high: number | null = null;
  #groups: Group[] = [];

  constructor(given: Cursor | null) {
    this.frozen = given;
  }

  get cursor(): Cursor | null {
    if (this.frozen || this.#high === null) return this.frozen;
    return { epoch: this.epoch, offset: Math.min(this.#high, ...this.#groups.map(({ high }) => high)) };
  }

  /** The line has ended: what is delivered from now on does not count until everything is resumed. */
  freeze(): void {
    this.frozen = this.cursor;
    this.#groups = [];
  }

  /** Offsets from before mean nothing any more. */
  forget(): void {
    this.#high = null;
    this.#groups = [];
  }

  /** All channels are about to be acknowledged together. */
  restart(): void {
    this.#groups = [];
  }

  has(group: Group | undefined): boolean {
    return group !== undefined && this.#groups.includes(group);
  }

  /** Channels that look back are acknowledged together, from `offset` on. */
  begin(offset: number, now: number): Group {
    const group = { high: offset, at: now };
    this.#groups.push(group);
    return group;
  }

  /** A message has come for channels of these groups. */
  deliver(offset: number, groups: Iterable<Group | undefined>): void {
    for (const group of groups) if (group) group.high = Math.max(group.high, offset);
    this.raise(offset);
  }

  /** Whether it is time to ask where the stream is. */
  isDue(now: number): boolean {
    return this.#groups.some(({ at }) => now - at >= CAUGHT_UP_MS);
  }

  /** Everything up to `offset` has come, on all channels. */
  locate(offset: number): void {
    for (const group of this.#groups) group.high = Math.max(group.high, offset);
    // Not behind anything that has come: nobody looks back any more.
    if (offset >= (this.#high ?? 0)) this.#groups = [];
    this.raise(offset);
  }

  /** Nothing before `offset` is still to come, but for the groups. */
  raise(offset: number): void {
    this.#high = Math.max(this.#high ?? 0, offset);
  }
}
