/**
 * From polling to push, one step at a time: the old way and the new one side by side, a part of the users first, and polling again
 * while there is no push.
 *
 * In: a client, a channel, and the request that was polled. Out: values, where each came from, and counts. What must hold: one request
 * at a time, none that hangs for ever, and after an outage not all pages ask at the same moment.
 */
import type { Message, WsGatewayClient } from './index.js';
import { Comparison, type Counts, equal } from './migrate-comparison.js';
import { Poller } from './migrate-poller.js';

/**
 * `poll`: as before, nothing is subscribed to. `shadow`: values come from polling; push runs next to it and both are compared.
 * `push`: values come from push; polling begins during an outage and ends with it.
 */
export type Phase = 'poll' | 'shadow' | 'push';

/** Shares of users in percent; the rest polls. A share that grows keeps everybody who is in it. */
export interface Rollout {
  push: number;
  /** Besides those who are pushed to. */
  shadow?: number;
}

/** A polled answer that push does not confirm. */
export interface Difference<T> {
  readonly channel: string;
  readonly polled: T;
  /** The newest pushed value; undefined: none has come, or it was deleted. `null` from polling is the same as deleted. */
  readonly pushed: T | undefined;
}

export interface MigrationStats extends Counts {
  /** Requests that were answered, and those that failed. */
  polls: number;
  failures: number;
  /** Messages that came by push. */
  pushes: number;
  /** Times that polling began since there was no push. */
  outages: number;
}

export interface MigrationOptions<T> {
  phase: Phase;
  /** The request that was polled until now. It is aborted after `timeoutMs` and at the end. */
  poll: (signal: AbortSignal) => Promise<T>;
  /** A value to show, and where it came from. */
  onValue: (value: T | undefined, from: 'poll' | 'push') => void;
  /** From the end of one request to the next. Doubled with each failure, up to eight times as much. Default 5000. */
  everyMs?: number;
  /** Default 10000. */
  timeoutMs?: number;
  /** Phase `push`: how long there may be no push until polling begins. Default 5000. */
  outageMs?: number;
  /** Phase `shadow`: how much later than polling push may be. Default 2000. */
  graceMs?: number;
  /** Whether a polled answer and a pushed value say the same. Default: equal as JSON, whatever the order of keys. */
  same?: (polled: T, pushed: T) => boolean;
  onDifference?: (difference: Difference<T>) => void;
}

export interface Migration {
  readonly phase: Phase;
  readonly stats: Readonly<MigrationStats>;
  /** Whether requests are sent. */
  readonly isPolling: boolean;
  /** Forward, or back. */
  setPhase(phase: Phase): void;
  stop(): void;
}

/** A share is a whole number of these: a hundredth of a percent. */
const BUCKETS = 10_000;

/** The phase of a user: the same on every page and device, and never a step back while shares grow. */
export function phaseOf(user: string, { push, shadow = 0 }: Rollout, salt = ''): Phase {
  const at = bucket(`${salt}\0${user}`) / (BUCKETS / 100);
  if (at < push) return 'push';
  return at < push + shadow ? 'shadow' : 'poll';
}

/** FNV-1a (32 bits), with the end of MurmurHash3 so that neighbours are spread. */
function bucket(text: string): number {
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(text)) hash = Math.imul(hash ^ byte, 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return ((hash ^ (hash >>> 16)) >>> 0) % BUCKETS;
}

/** Shows the values of a channel by the rules of its phase, until `stop()`. */
export function migrate<T>(client: WsGatewayClient, channel: string, options: MigrationOptions<T>): Migration {
  return new Running(client, channel, options);
}

type Timer = ReturnType<typeof setTimeout>;

class Running<T> implements Migration {
  readonly stats: MigrationStats = { polls: 0, failures: 0, pushes: 0, same: 0, late: 0, differences: 0, skipped: 0, outages: 0 };
  readonly #options: Required<Omit<MigrationOptions<T>, 'phase' | 'onDifference'>> & Pick<MigrationOptions<T>, 'onDifference'>;
  readonly #comparison: Comparison<T>;
  #phase: Phase | 'stopped' = 'poll';
  #endPush: (() => void) | null = null;
  #poller: Poller<T> | null = null;
  #outage: Timer | undefined;
  /** Push brought something after the last request was sent: its answer may be older. */
  #isOvertaken = false;
  #isLive: () => boolean = () => false;

  constructor(
    readonly client: WsGatewayClient,
    readonly channel: string,
    { phase, ...options }: MigrationOptions<T>,
  ) {
    this.#options = { everyMs: 5_000, timeoutMs: 10_000, outageMs: 5_000, graceMs: 2_000, same: equal, ...options };
    const { same, graceMs, onDifference } = this.#options;
    this.#comparison = new Comparison(same, graceMs, this.stats, (polled, pushed) => onDifference?.({ channel, polled, pushed }));
    this.setPhase(phase);
  }

  get phase(): Phase {
    return this.#phase === 'stopped' ? 'poll' : this.#phase;
  }

  get isPolling(): boolean {
    return this.#poller !== null;
  }

  setPhase(phase: Phase): void {
    if (this.#phase === 'stopped') return;
    this.#phase = phase;
    if (phase === 'poll') this.#stopPush();
    else this.#startPush();
    if (phase === 'poll') this.#comparison.clear();
    if (phase === 'push') this.#watch();
    else this.#startPolling(0);
  }

  stop(): void {
    this.#phase = 'stopped';
    this.#stopPush();
    this.#stopPolling();
    this.#comparison.clear();
  }

  #startPush(): void {
    if (this.#endPush) return;
    const receive = (message: Message<T>): void => {
      this.stats.pushes += 1;
      this.#isOvertaken = true;
      this.#comparison.pushed(message.data);
      if (this.#phase === 'push') this.#options.onValue(message.data, 'push');
    };
    const watch = (): void => this.#watch();
    const subscription = this.client.subscribe<string, T>(this.channel, receive, { snapshot: true, onState: watch });
    const off = this.client.on('state', watch);
    this.#endPush = () => {
      off();
      subscription.unsubscribe();
    };
    this.#isLive = () => this.client.state === 'live' && subscription.state === 'live';
  }

  #stopPush(): void {
    clearTimeout(this.#outage);
    this.#outage = undefined;
    this.#endPush?.();
    this.#endPush = null;
    this.#isLive = () => false;
  }

  /** Phase `push`: polling begins some time after push ended, and ends with the outage. */
  #watch(): void {
    if (this.#phase !== 'push') return;
    if (this.#isLive()) {
      clearTimeout(this.#outage);
      this.#outage = undefined;
      this.#stopPolling();
    } else if (!this.#poller && this.#outage === undefined) {
      this.#outage = setTimeout(() => {
        this.#outage = undefined;
        this.stats.outages += 1;
        // Every page loses its connection in the same moment: their first requests are spread over an interval.
        this.#startPolling(Math.random() * this.#options.everyMs);
      }, this.#options.outageMs);
    }
  }

  #startPolling(firstInMs: number): void {
    clearTimeout(this.#outage);
    this.#outage = undefined;
    this.#poller ??= new Poller(this.#options, firstInMs, {
      asked: () => {
        this.#isOvertaken = false;
        this.#comparison.asked(this.#phase === 'shadow' && this.#isLive());
      },
      answered: (value) => {
        this.stats.polls += 1;
        if (this.#phase === 'shadow') this.#comparison.answered(value, this.#isLive());
        if (this.#phase !== 'push' || !this.#isOvertaken) this.#options.onValue(value, 'poll');
      },
      failed: () => {
        this.stats.failures += 1;
      },
    });
  }

  #stopPolling(): void {
    this.#poller?.stop();
    this.#poller = null;
  }
}
