/**
 * Which transport the next line uses: WebSocket, unless it is shown to be blocked. A gateway that is away, full or about to
 * stop refuses upgrades too, and a whole fleet would change its transport for that. So a failed upgrade counts only when a
 * plain request to the same place is answered. Pure.
 */
import type { TransportKind } from './types.js';

/** Upgrades that fail in a row before it is worth a request to find out why: most often the gateway is away. */
const DOUBT = 2;
/** Upgrades in a row that fail although plain HTTP works, before something else is tried. */
const BLOCKED = 2;
/** The same where WebSocket has worked before: a place that is taken and freed in between is more likely there. */
const BLOCKED_SINCE = 5;

export class TransportChoice {
  /** Upgrades in a row that failed, and those of them for which plain HTTP was answered. */
  #failed = 0;
  #blocked = 0;
  /** Place in the rotation while WebSocket is blocked: the fallbacks, then WebSocket. */
  #turn = 0;
  /** WebSocket has worked in this network. */
  #worked = false;

  constructor(readonly fallback: readonly TransportKind[]) {}

  get next(): TransportKind {
    if (this.#blocked < this.#needed) return 'websocket';
    return [...this.fallback, 'websocket' as const][this.#turn % (this.fallback.length + 1)] as TransportKind;
  }

  /** Whether to find out by plain HTTP why the upgrade failed. */
  get doubtful(): boolean {
    return this.#failed >= DOUBT;
  }

  get #needed(): number {
    return this.#worked ? BLOCKED_SINCE : BLOCKED;
  }

  /** A WebSocket has opened. */
  opened(): void {
    this.#worked = true;
    this.#reset();
  }

  /** A line has ended before it was of any use. */
  failed(transport: TransportKind, code: number): void {
    // The gateway is reachable and busy, which says nothing about WebSocket.
    if (code === 1012 || code === 1013) return this.#reset();
    // A WebSocket may fail after the answer that gives the turn to another transport.
    if (this.#blocked >= this.#needed && transport === this.next) this.#turn += 1;
    if (transport !== 'websocket') return;
    if (code === 1006) this.#failed += 1;
    else this.#reset();
  }

  /** After a failed upgrade: whether plain HTTP works there. */
  answered(works: boolean): void {
    this.#blocked = works ? this.#blocked + 1 : 0;
  }

  /** The network may be another one now. */
  moved(): void {
    this.#worked = false;
  }

  #reset(): void {
    this.#failed = this.#blocked = this.#turn = 0;
  }
}
