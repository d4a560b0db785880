/** Trials of WebSocket next to a line of another transport. Owns their timers. */
import type { Line, LineHooks } from './transport.js';

/** The longest between two trials (ms). */
const MAX_INTERVAL = 600_000;

export interface TrialHooks {
  /** A WebSocket has been greeted with this push; it is a line from now on, and `hooks` are its own. */
  works(line: Line, hooks: LineHooks, greeting: unknown): void;
  failed(code: number, reason: string, advisedMs?: number): void;
}

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
    readonly hooks: TrialHooks,
    readonly random: () => number,
  ) {}

  get pending(): boolean {
    return this.#end !== undefined;
  }

  /** A line of another transport has opened. */
  start(): void {
    clearTimeout(this.#timer);
    if (this.pending) return;
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

  /** A WebSocket that hangs goes on as a trial. */
  hold(line: Line, hooks: LineHooks): void {
    this.#watch(hooks).line = line;
  }

  async #try(): Promise<void> {
    this.#dueAt = 0;
    this.#interval = Math.min(this.#interval * 2, MAX_INTERVAL);
    const hooks: LineHooks = { push() {}, end() {} };
    const trial = this.#watch(hooks);
    try {
      trial.line = await this.open(hooks);
      if (trial.ended) trial.line.close();
    } catch (error) {
      hooks.end(1006, String(error));
    }
  }

  /** Listens to a WebSocket until it is greeted, ends, or takes too long. */
  #watch(hooks: LineHooks): { line?: Line; ended: boolean } {
    const trial: { line?: Line; ended: boolean } = { ended: false };
    const over = (): void => {
      trial.ended = true;
      clearTimeout(timer);
      this.#end = undefined;
    };
    const stop = (): void => {
      over();
      trial.line?.close();
    };
    hooks.push = (push) => {
      if (trial.ended || !trial.line || Object(push).type !== 'connection:established') return;
      over();
      this.hooks.works(trial.line, hooks, push);
    };
    hooks.end = (code, reason, advisedMs) => {
      if (trial.ended) return;
      stop();
      this.start();
      this.hooks.failed(code, reason, advisedMs);
    };
    const timer = setTimeout(() => hooks.end(1006, 'not connected in time'), this.settings.connectTimeoutMs);
    this.#end = stop;
    return trial;
  }
}
