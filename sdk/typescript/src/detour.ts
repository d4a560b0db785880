/**
 * What to do where WebSocket does not open: which transport instead, WebSocket next to it, and what was found out for the
 * next page. Loaded when it is needed first. The connection owns the line; here are the trials next to it.
 */
import { answersHttp } from './plain-http.js';
import type { Line, LineHooks, LineOptions, Openers } from './transport.js';
import { TransportChoice } from './transport-choice.js';
import { BANNED } from './transport-http.js';
import { type TrialHooks, Trials } from './trials.js';
import type { TransportKind } from './types.js';

/** Time for a plain request that shows whether HTTP works (ms). */
const HTTP_TIMEOUT = 5_000;

export interface DetourSettings {
  fallback: readonly TransportKind[];
  connectTimeoutMs: number;
  probeMs: number;
  openers: Openers;
}

export interface DetourHooks extends TrialHooks {
  /** What a line is opened with. */
  fresh(): Promise<LineOptions>;
  /** There is nothing at the path of the URL. */
  misplaced(message: string): void;
  /** The gateway refuses us, which a page cannot see from its upgrade. */
  refused(code: number, reason: string): void;
}

export class Detour {
  readonly #choice: TransportChoice;
  readonly #trials: Trials;
  /** A plain request that is under way. */
  #asking: AbortController | undefined;

  constructor(
    readonly settings: DetourSettings,
    readonly hooks: DetourHooks,
    random: () => number,
    /** Upgrades in a row that have failed, and whether one has worked. */
    { failed, worked }: { failed: number; worked: boolean },
  ) {
    this.#choice = new TransportChoice(settings.fallback, failed, worked);
    const open = async (own: LineHooks): Promise<Line> => settings.openers.websocket(await hooks.fresh(), own);
    this.#trials = new Trials(settings, open, hooks, random);
  }

  get next(): TransportKind {
    return this.#choice.next;
  }

  /** A WebSocket that hangs is being waited for next to the line. */
  get pending(): boolean {
    return this.#trials.pending;
  }

  prefer(transport: string | null | undefined): void {
    this.#choice.prefer(transport);
  }

  /** The network may be another one now. */
  moved(): void {
    this.#choice.moved();
  }

  /** Keeps a WebSocket that hangs as a trial. Returns what to open meanwhile. */
  hold(line: Line, hooks: LineHooks): TransportKind {
    this.#trials.hold(line, hooks);
    return this.#choice.other;
  }

  /** A line has opened. */
  greeted(transport: TransportKind): void {
    this.stop();
    if (transport === 'websocket') {
      this.#choice.opened();
      this.#trials.reset();
    } else {
      this.#choice.prefer(transport);
      if (!this.#choice.avoids) this.#trials.start();
    }
  }

  /** A line was of no use. */
  failed(transport: TransportKind, code: number, options: LineOptions): void {
    this.#choice.failed(transport, code);
    if (transport === 'websocket') void this.#ask(options);
  }

  /** There is no line. */
  ended(): void {
    this.#trials.stop();
  }

  /** Stops asking. */
  stop(): void {
    this.#asking?.abort();
    this.#asking = undefined;
  }

  /** Upgrades have failed: finds out whether plain HTTP works, so that only the upgrade is blocked, or the token is refused. */
  async #ask(options: LineOptions): Promise<void> {
    if (this.#asking || !this.#choice.doubtful || !(options.token || this.settings.fallback.length)) return;
    const asking = new AbortController();
    this.#asking = asking;
    const timer = setTimeout(() => asking.abort(), HTTP_TIMEOUT);
    const code = await answersHttp(options, asking.signal);
    clearTimeout(timer);
    if (this.#asking !== asking) return;
    this.#asking = undefined;
    if (code === 4001) this.hooks.refused(code, 'the token was refused');
    else if (code === BANNED) this.hooks.refused(code, 'banned');
    else if (code === 404) {
      this.hooks.misplaced(`there is nothing at ${options.url.pathname} of ${options.url.host}: is the path of the URL right?`);
      this.#choice.answered(false);
    } else this.#choice.answered(code > 0);
  }
}
