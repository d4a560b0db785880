/** The last messages of a connection, for tabs that come back to it. Bounded by number and size. Pure. */
import { matches } from '../channels.js';
import { isText, type Push } from '../push.js';

/** Messages and bytes that are kept at most. A burst, such as a replay after an outage, comes faster than a tab handles it. */
export const RING_LIMITS = { messages: 10_000, bytes: 16 << 20 };

interface Kept {
  offset: number;
  channel: string;
  push: Push;
  size: number;
}

/** About how many bytes a push takes. */
export function sizeOf({ data }: Push): number {
  if (data instanceof Uint8Array) return data.byteLength;
  return 128 + (isText(data) ? data.length : typeof data === 'object' && data ? JSON.stringify(data).length : 0);
}

export class Ring {
  readonly #kept = new Set<Kept>();
  #bytes = 0;
  /** Everything after this offset is here, as far as it came. */
  floor = 0;

  constructor(readonly limits = RING_LIMITS) {}

  /** Keeps a message, or a gap under the offset at which it ends. */
  add(channel: string, offset: number, push: Push): void {
    const kept = { offset, channel, push, size: sizeOf(push) };
    this.#kept.add(kept);
    this.#bytes += kept.size;
    for (const oldest of this.#kept) {
      if (this.#kept.size <= this.limits.messages && this.#bytes <= this.limits.bytes) return;
      this.#kept.delete(oldest);
      this.#bytes -= oldest.size;
      this.floor = Math.max(this.floor, oldest.offset);
    }
  }

  /** What belongs to any of these patterns and is after an offset, in the order of the stream. */
  after(offset: number, patterns: readonly string[]): Push[] {
    return [...this.#kept]
      .filter((kept) => kept.offset > offset && patterns.some((pattern) => matches(pattern, kept.channel)))
      .sort((one, other) => one.offset - other.offset)
      .map(({ push }) => push);
  }

  clear(): void {
    this.#kept.clear();
    this.#bytes = this.floor = 0;
  }
}
