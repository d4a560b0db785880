/**
 * Which offsets have been seen, channel by channel, to detect duplicates and holes. Last values (snapshots) do not count:
 * they say nothing of what lies before them. Pure and bounded: channels not heard of for long are forgotten, oldest
 * first, and what is forgotten can at worst go unnoticed; it is never reported wrongly and never dropped.
 */

/** Channels remembered at most, wherever something is remembered by channel. */
export const MAX_CHANNELS = 4096;

/** Sets a value. Beyond the limit the one that was set longest ago is removed and returned. */
export function remember<V>(map: Map<string, V>, key: string, value: V, limit = MAX_CHANNELS): V | undefined {
  map.delete(key);
  map.set(key, value);
  if (map.size > limit)
    for (const [oldest, gone] of map) {
      map.delete(oldest);
      return gone;
    }
  return undefined;
}

export class Ledger {
  /** By channel: the last offset that was delivered, and up to where the gateway has reported everything missing. */
  readonly #seen = new Map<string, readonly [offset: number, told: number]>();
  /** Unknown channels may have been seen up to here. */
  #forgotten = 0;

  constructor(readonly limit = MAX_CHANNELS) {}

  clear(): void {
    this.#seen.clear();
    this.#forgotten = 0;
  }

  last(channel: string): number {
    return this.#seen.get(channel)?.[0] ?? 0;
  }

  /** A message of the channel is about to be delivered; or the gateway says what is missing up to `told`, and messages
   * from before may still come. */
  record(channel: string, offset: number, told = 0): void {
    const [lastOffset, lastTold] = this.#seen.get(channel) ?? [0, 0];
    const gone = remember(this.#seen, channel, [Math.max(offset, lastOffset), Math.max(told, lastTold)], this.limit);
    if (gone) this.#forgotten = Math.max(this.#forgotten, ...gone);
  }

  /** The hole before a message, when `prev` shows one. Everything after `promised` was to be delivered. */
  hole(channel: string, prev: number, promised: number): { from: number; to: number } | null {
    const known = Math.max(promised, ...(this.#seen.get(channel) ?? [this.#forgotten]));
    return prev > known ? { from: known + 1, to: prev } : null;
  }
}
