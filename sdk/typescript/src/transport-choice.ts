/**
 * Which transport the next line uses: WebSocket, unless it is shown to be blocked. A gateway that is away, full or about to
 * stop refuses upgrades too, and a whole fleet would change its transport for that. So a failed upgrade counts only when a
 * plain request to the same place is answered. One that hangs is raced by another transport, and what wins is preferred until
 * a WebSocket opens. Pure.
 */
import type { TransportKind } from './types.js';

/** Upgrades that fail in a row before it is worth a request to find out why: most often the gateway is away. */
const DOUBT = 2;
/** Upgrades in a row that fail although plain HTTP works, before something else is tried. */
const BLOCKED = 2;
/** The same where WebSocket has worked before: a place that is taken and freed in between is more likely there. */
const BLOCKED_SINCE = 5;

/** The gateway could not read a command. Ours are text and JSON, so a compressor or something on the way has done it. */
const GARBLED = 1007;

export class TransportChoice {
  /** Upgrades in a row that failed although plain HTTP was answered. */
  #blocked = 0;
  /** Place in the rotation while WebSocket is blocked: the fallbacks, then WebSocket. */
  #turn = 0;
  /** What has worked while WebSocket did not. */
  #preferred: TransportKind | undefined;
  /** Lines of fallbacks in a row that were of no use. */
  #useless = 0;
  /** WebSocket garbles what is sent, which shows only later: it is not used again. */
  avoids = false;

  constructor(
    readonly fallback: readonly TransportKind[],
    /** Upgrades in a row that failed. */
    private failures = 0,
    /** WebSocket has worked in this network. */
    private worked = false,
  ) {}

  get next(): TransportKind {
    if (this.#preferred) return this.#preferred;
    if (!this.#isBlocked) return 'websocket';
    const turns = this.avoids ? this.fallback : [...this.fallback, 'websocket' as const];
    return turns[this.#turn % turns.length] as TransportKind;
  }

  /** What to try next to a WebSocket that hangs. */
  get other(): TransportKind {
    return this.fallback[this.#useless % this.fallback.length] ?? 'websocket';
  }

  /** Whether to find out by plain HTTP why the upgrade failed. */
  get doubtful(): boolean {
    return this.failures >= DOUBT;
  }

  get #isBlocked(): boolean {
    return this.avoids || this.#blocked >= (this.worked ? BLOCKED_SINCE : BLOCKED);
  }

  /** This one works where WebSocket may not: the next line begins with it. */
  prefer(transport: string | null | undefined): void {
    this.#preferred = this.fallback.find((one) => one === transport);
    this.#useless = 0;
  }

  /** A WebSocket has opened. */
  opened(): void {
    this.worked = true;
    this.#reset();
  }

  /** A line has ended before it was of any use. */
  failed(transport: TransportKind, code: number): void {
    // The gateway is reachable and busy, which says nothing about WebSocket.
    if (code === 1012 || code === 1013) return this.#reset();
    // A WebSocket may fail after the answer that gives the turn to another transport.
    if (this.#isBlocked && transport === this.next) this.#turn += 1;
    if (transport !== 'websocket') {
      this.#preferred = undefined;
      this.#useless += 1;
      return;
    }
    this.avoids ||= code === GARBLED && this.fallback.length > 0;
    if (code === 1006) this.failures += 1;
    else this.#reset();
  }

  /** After a failed upgrade: whether plain HTTP works there. */
  answered(works: boolean): void {
    this.#blocked = works ? this.#blocked + 1 : 0;
  }

  /** The network may be another one now. */
  moved(): void {
    this.worked = false;
    this.#preferred = undefined;
  }

  #reset(): void {
    this.failures = this.#blocked = this.#turn = this.#useless = 0;
    this.#preferred = undefined;
  }
}
