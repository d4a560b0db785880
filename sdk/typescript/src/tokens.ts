/** Tokens of a connection: one for each attempt, and another before it expires. Owns the timer of its retries. */
import { ceiling } from './backoff.js';
import type { BackoffOptions, TokenSource } from './types.js';

export class Tokens {
  /** Grows when a line has ended: what is under way is for nobody. */
  #generation = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    readonly source: TokenSource | undefined,
    readonly backoff: BackoffOptions,
    /** A function has failed. */
    readonly unavailable: (cause: unknown) => void,
    readonly random: () => number,
  ) {}

  /** Whether there may be another one. */
  get change(): boolean {
    return typeof this.source === 'function';
  }

  async get(): Promise<string | undefined> {
    const { source } = this;
    return typeof source === 'function' ? source() : source;
  }

  /** Gets another one for the line, again and again until it is there or the line has ended. */
  async renew(use: (token: string) => void, attempt = 0): Promise<void> {
    this.stop();
    const generation = this.#generation;
    const current = (): boolean => generation === this.#generation;
    try {
      const token = await this.get();
      if (current() && token) use(token);
    } catch (error) {
      if (current()) this.unavailable(error);
      // A listener may have closed.
      if (current()) this.#timer = setTimeout(() => void this.renew(use, attempt + 1), this.random() * ceiling(attempt, this.backoff));
    }
  }

  stop(): void {
    this.#generation += 1;
    clearTimeout(this.#timer);
  }
}
