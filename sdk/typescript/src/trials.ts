/** Trials of WebSocket next to a line of another transport. Owns their timers. */
import type { Line, LineHooks } from './transport.js';

/** The longest between two trials (ms). */
const MAX_INTERVAL = 600_000;

export class Trials {
  /** Time until a trial (ms), doubled with each, and when the next is due, which no end of a line puts off. 0: unknown. */
  #interval = 0;
  #dueAt = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** Ends the trial under way. */
  #end: (() => void) | undefined;

  constructor(
    readonly settings: { probeMs: number; connectTimeoutMs: number },
    readonly open: (hooks: LineHooks) => Promise<Line>,
    /** A WebSocket has been greeted; it is closed again. */
    readonly works: () => void,
    readonly random: () => number,
  ) {}

  /** A line of another transport has opened. */
  start(): void {
    if (!this.#dueAt) {
      this.#interval ||= this.settings.probeMs;
      this.#dueAt = Date.now() + (this.#interval / 2) * (1 + this.random());
    }
    this.#timer = setTimeout(() => void this.#try(), this.#dueAt - Date.now());
  }

  /** That line has ended. */
  stop(): void {
    clearTimeout(this.#timer);
    this.#end?.();
  }

  /** WebSocket is in use. */
  reset(): void {
    this.#interval = this.#dueAt = 0;
  }

  async #try(): Promise<void> {
    let line: Line | undefined;
    let ended = false;
    const end = (): void => {
      ended = true;
      clearTimeout(timer);
      line?.close();
    };
    const over = (works: boolean): void => {
      if (ended) return;
      end();
      if (works) this.works();
      else this.start();
    };
    const timer = setTimeout(() => over(false), this.settings.connectTimeoutMs);
    this.#end = end;
    this.#dueAt = 0;
    this.#interval = Math.min(this.#interval * 2, MAX_INTERVAL);
    try {
      line = await this.open({
        push: (push) => Object(push).type === 'connection:established' && over(true),
        end: () => over(false),
      });
      if (ended) line.close();
    } catch {
      over(false);
    }
  }
}
