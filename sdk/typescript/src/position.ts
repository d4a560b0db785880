/**
 * Where a connection is in the stream: one cursor for all channels, and never ahead of any of them.
 *
 * Until every channel that is to be resumed is acknowledged, the cursor stays where it was before the line ended.
 * Afterwards the channels of one command come in the order of the stream, but what one command brings may still be
 * behind what another brings: each catches up by itself. So there is a position per command that is catching up, and the cursor is the least of them, until the gateway says of each that it is live. Pure.
 */
import type { Cursor } from './types.js';

/** The channels of one command that is catching up: all of theirs up to `high` has come. */
export interface Group {
  /** The command's. */
  readonly id: unknown;
  high: number;
  /** Messages may have come some other way: they prove nothing. */
  blind?: boolean;
}

export class Position {
  epoch = '';
  /** Where to resume, while not everything has been resumed. */
  frozen: Cursor | null;
  /** Highest offset of an acknowledgement or a message on this epoch; null before the first. */
  #high: number | null = null;

  constructor(
    given: Cursor | null,
    /** Commands that are catching up. */
    readonly groups: () => Group[],
  ) {
    this.frozen = given;
  }

  get cursor(): Cursor | null {
    if (this.frozen || this.#high === null) return this.frozen;
    return { epoch: this.epoch, offset: Math.min(this.#high, ...this.groups().map(({ high }) => high)) };
  }

  /** The line has ended: what is delivered from now on does not count until everything is resumed. */
  freeze(): void {
    this.frozen = this.cursor;
    // The next line begins there: what was ahead of it on this one comes again, or is reported as missing.
    this.#high = this.frozen?.epoch === this.epoch ? this.frozen.offset : null;
  }

  /** Offsets from before mean nothing any more. */
  forget(): void {
    this.#high = null;
  }

  /** Everything up to `offset` has come, on all channels. */
  locate(offset: number): void {
    for (const group of this.groups()) group.high = Math.max(group.high, offset);
    this.raise(offset);
  }

  /** Nothing before `offset` is still to come, but for the groups. */
  raise(offset: number): void {
    this.#high = Math.max(this.#high ?? 0, offset);
  }
}
