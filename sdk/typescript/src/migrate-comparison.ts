/**
 * Whether push says what polling says. A polled answer was true at some time between request and answer, so it is compared with the
 * value that push had when the request was sent and with all since; and with those of a while afterwards, should push be slower.
 */

export interface Counts {
  /** Answers that push had as well: at the time, or (`late`, among them) up to `graceMs` afterwards. */
  same: number;
  late: number;
  /** Answers that push did not have. */
  differences: number;
  /** Answers that were not compared: there was no push at the time. */
  skipped: number;
}

/** Pushed values that an answer is compared with, at most: those since its request was sent. */
const REMEMBERED = 256;
/** Answers that may wait for push at the same time; with more, the oldest counts as a difference. */
const WAITING = 16;

/** What push says at some time; undefined: the value was deleted. */
interface Pushed<T> {
  value: T | undefined;
}

/** An answer that push has not confirmed yet. */
interface Waiting<T> {
  polled: T;
  timer: ReturnType<typeof setTimeout>;
}

export class Comparison<T> {
  /** What push said when the last request was sent, and since. */
  #recent: Pushed<T>[] = [];
  #newest: Pushed<T> | null = null;
  #isOpen = false;
  readonly #waiting = new Set<Waiting<T>>();

  constructor(
    readonly same: (polled: T, pushed: T) => boolean,
    readonly graceMs: number,
    readonly counts: Counts,
    readonly differs: (polled: T, pushed: T | undefined) => void,
  ) {}

  clear(): void {
    for (const { timer } of this.#waiting) clearTimeout(timer);
    this.#waiting.clear();
    this.#recent = [];
    this.#newest = null;
    this.#isOpen = false;
  }

  pushed(value: T | undefined): void {
    const pushed = { value };
    this.#newest = pushed;
    for (const waiting of this.#waiting) {
      if (!this.#says(waiting.polled, pushed)) continue;
      this.#end(waiting);
      this.counts.same += 1;
      this.counts.late += 1;
    }
    if (!this.#isOpen) return;
    this.#recent.push(pushed);
    if (this.#recent.length > REMEMBERED) this.#recent.shift();
  }

  asked(isLive: boolean): void {
    this.#isOpen = isLive;
    this.#recent = this.#newest ? [this.#newest] : [];
  }

  answered(polled: T, isLive: boolean): void {
    if (!this.#isOpen || !isLive) {
      this.counts.skipped += 1;
    } else if (this.#recent.some((pushed) => this.#says(polled, pushed))) {
      this.counts.same += 1;
    } else {
      this.#wait(polled);
    }
  }

  #wait(polled: T): void {
    const [oldest] = this.#waiting;
    if (oldest && this.#waiting.size === WAITING) this.#miss(oldest);
    const waiting: Waiting<T> = { polled, timer: setTimeout(() => this.#miss(waiting), this.graceMs) };
    this.#waiting.add(waiting);
  }

  /** What has not come by now does not come. */
  #miss(waiting: Waiting<T>): void {
    this.#end(waiting);
    this.counts.differences += 1;
    this.differs(waiting.polled, this.#newest?.value);
  }

  #end(waiting: Waiting<T>): void {
    clearTimeout(waiting.timer);
    this.#waiting.delete(waiting);
  }

  #says(polled: T, { value }: Pushed<T>): boolean {
    return value === undefined ? polled === null || polled === undefined : this.same(polled, value);
  }
}

/** Equal as JSON, whatever the order of keys. */
export function equal(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || !a || !b || Array.isArray(a) !== Array.isArray(b)) return false;
  const [left, right] = [a as Record<string, unknown>, b as Record<string, unknown>];
  const keys = Object.keys(left);
  return keys.length === Object.keys(right).length && keys.every((key) => Object.hasOwn(right, key) && equal(left[key], right[key]));
}
