/** Requests again and again: one at a time, none that hangs for ever, and fewer while they fail. */

/** Longest wait after failures, in times of `everyMs`. */
const MAX_BACKOFF = 8;

export interface PollerEvents<T> {
  asked(): void;
  answered(value: T): void;
  failed(): void;
}

/** One request at a time, until it is stopped. */
export class Poller<T> {
  readonly #abort = new AbortController();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #failed = 0;

  constructor(
    readonly options: { poll: (signal: AbortSignal) => Promise<T>; everyMs: number; timeoutMs: number },
    firstInMs: number,
    readonly events: PollerEvents<T>,
  ) {
    this.#timer = setTimeout(() => void this.#ask(), firstInMs);
  }

  stop(): void {
    this.#abort.abort();
    clearTimeout(this.#timer);
  }

  async #ask(): Promise<void> {
    const { poll, everyMs, timeoutMs } = this.options;
    this.events.asked();
    const answer = await within(timeoutMs, this.#abort.signal, poll);
    if (this.#abort.signal.aborted) return;
    this.#failed = answer ? 0 : this.#failed + 1;
    this.#timer = setTimeout(() => void this.#ask(), everyMs * Math.min(2 ** this.#failed, MAX_BACKOFF));
    if (answer) this.events.answered(answer.value);
    else this.events.failed();
  }
}

/** The answer to a request; null when it fails or takes too long, also one that does not heed its signal. */
async function within<T>(ms: number, stopped: AbortSignal, poll: (signal: AbortSignal) => Promise<T>): Promise<{ value: T } | null> {
  const abort = new AbortController();
  const end = (): void => abort.abort();
  const timer = setTimeout(end, ms);
  stopped.addEventListener('abort', end, { once: true });
  try {
    const late = new Promise<null>((done) => abort.signal.addEventListener('abort', () => done(null), { once: true }));
    return await Promise.race([poll(abort.signal).then((value) => ({ value })), late]);
  } catch {
    return null;
  } finally {
    clearTimeout(timer);
    stopped.removeEventListener('abort', end);
  }
}
