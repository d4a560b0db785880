/**
 * One line at a time: opens it, watches it, and opens the next when it has ended. Owns every timer. What goes over the
 * line is the session's business.
 */
import { afterEnd, lineVerdict } from './backoff.js';
import type { Emitter } from './emitter.js';
import { isOffline, watch } from './environment.js';
import { answersHttp } from './plain-http.js';
import type { Line, LineOptions, Openers } from './transport.js';
import { TransportChoice } from './transport-choice.js';
import { Trials } from './trials.js';
import type { BackoffOptions, ConnectionState, EventOf, HeartbeatOptions, TransportKind } from './types.js';

export interface Settings {
  /** Throws when there is none. Resolved late: a server that renders a page has no location. */
  urls: () => readonly URL[];
  token: (() => string | Promise<string>) | string | undefined;
  fallback: readonly TransportKind[];
  backoff: BackoffOptions;
  heartbeat: HeartbeatOptions;
  connectTimeoutMs: number;
  probeMs: number;
  line: Omit<LineOptions, 'url' | 'token'>;
  openers: Openers;
}

export interface ConnectionHooks {
  /** The line takes commands. */
  opened(line: Line): void;
  push(push: unknown): void;
  ended(): void;
  /** Nothing was heard for long. */
  silent(): void;
  /** How long an answer is overdue (ms). */
  waits(): number;
  /** Whether a one-way line has anything to do. */
  wanted(): boolean;
}

/** Unix ms with fractions. For measuring only: it may stand still while the machine sleeps. */
export const preciseNow = (): number => performance.timeOrigin + performance.now();

/** After coming back online: enough to spread a region, too little to be felt (ms). */
const ONLINE_SPREAD = 500;
/** A page that wakes up gives its line less time to answer (ms). */
const WAKE_TIMEOUT = 4_000;
/** An answer to a subscribe: a gateway may look messages up for 5 s (ms). */
const ANSWER_TIMEOUT = 30_000;
/** A browser that reports that there is no network may be wrong: an attempt is made all the same (ms). */
const OFFLINE_RETRY = 30_000;
/** Time for a plain request that shows whether HTTP works (ms). */
const HTTP_TIMEOUT = 5_000;

export class Connection {
  state: ConnectionState = 'closed';
  transport: TransportKind = 'websocket';
  #line: Line | null = null;
  /** Grows with each attempt; what belongs to an earlier one is ignored. */
  #generation = 0;
  /** There is a line, or an attempt to open one. */
  #active = false;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #beat: ReturnType<typeof setInterval> | undefined;
  /** A plain request that is under way. */
  #asking: AbortController | undefined;
  readonly #choice: TransportChoice;
  readonly #trials: Trials;
  #unwatch: (() => void) | undefined;
  #url = 0;
  /** Connections in a row that were not useful. */
  #attempt = 0;
  /** The attempt got as far as to the network. */
  #tried = false;
  #tokenRefused = false;
  #greeted = false;
  #liveAt = 0;
  #heardAt = 0;
  #askedAt = 0;
  #advisedAt: number | undefined;
  /** The server asked us to wait until then. */
  #notBefore = 0;

  constructor(
    readonly settings: Settings,
    readonly events: Emitter,
    readonly hooks: ConnectionHooks,
    readonly random: () => number = Math.random,
  ) {
    this.#choice = new TransportChoice(settings.fallback);
    const works = (): void => {
      this.#choice.opened();
      void this.#open(); // a change of lines loses nothing
    };
    this.#trials = new Trials(settings, async (hooks) => settings.openers.websocket(await this.#options(), hooks), works, random);
  }

  /** Begins, or tries again at once. Does nothing while there is a line. */
  connect(): void {
    if (this.#active) return;
    this.settings.urls();
    this.#unwatch ??= watch({
      online: () => this.#online(),
      offline: () => this.#offline(),
      woke: () => this.#checkNow(),
    });
    void this.#open();
  }

  close(): void {
    this.#drop();
    this.#unwatch?.();
    this.#unwatch = undefined;
    this.#asking?.abort();
    this.#asking = undefined;
    this.#attempt = this.#notBefore = 0;
    this.#tokenRefused = false;
    this.#set('closed');
  }

  send(command: Parameters<Line['send']>[0]): void {
    this.#line?.send(command);
  }

  /** Everything wanted is acknowledged: this connection is of use. */
  settled(): void {
    if (!this.#greeted || this.state === 'live') return;
    this.#liveAt = Date.now();
    this.#tokenRefused = false;
    this.#set('live');
  }

  // ---- opening -------------------------------------------------------------------------------------------------

  async #open(): Promise<void> {
    this.#drop();
    this.#active = true;
    const generation = this.#generation;
    const current = (): boolean => generation === this.#generation;
    const { openers, connectTimeoutMs } = this.settings;
    this.#timer = setTimeout(() => this.#end(1006, 'not connected in time'), connectTimeoutMs);
    this.#set('connecting');
    try {
      // Always a moment later: whoever closes in the same turn (React's StrictMode) has opened nothing.
      const options = await this.#options();
      if (!current()) return;
      this.transport = this.hooks.wanted() ? this.#choice.next : 'websocket';
      this.#tried = true;
      this.#heardAt = this.#askedAt = Date.now();
      const opened = await openers[this.transport](options, {
        push: (push) => current() && this.#push(push),
        end: (code, reason, advisedMs) => current() && this.#end(code, reason, advisedMs),
      });
      if (!current()) return opened.close();
      this.#line = opened;
      // Only a WebSocket greets before it is asked for something.
      if (this.transport !== 'websocket') this.hooks.opened(opened);
    } catch (error) {
      if (current()) this.#end(1006, String(error));
    }
  }

  async #options(): Promise<LineOptions> {
    const { token, line } = this.settings;
    const value = await (typeof token === 'function' ? token() : token);
    return { ...line, token: value, url: this.#place };
  }

  get #place(): URL {
    const urls = this.settings.urls();
    return urls[this.#url % urls.length] as URL;
  }

  #push(push: unknown): void {
    this.#heardAt = Date.now();
    const { type, afterMs } = Object(push) as { type?: unknown; afterMs?: unknown };
    if (type === 'reconnect' && typeof afterMs === 'number') this.#advisedAt = Date.now() + afterMs;
    const first = type === 'connection:established' && !this.#greeted;
    if (first) this.#greet();
    this.hooks.push(push);
    if (!first) return;
    const { transport } = this;
    this.events.emit({ ...(push as EventOf<'open'>), type: 'open', transport });
    if (transport !== 'websocket' || !this.#line) return;
    this.hooks.opened(this.#line);
    this.ping();
  }

  #greet(): void {
    clearTimeout(this.#timer);
    this.#greeted = true;
    const { intervalMs, timeoutMs } = this.settings.heartbeat;
    this.#beat = setInterval(() => this.#check(), Math.min(intervalMs, timeoutMs) / 2);
    if (this.transport !== 'websocket') return this.#trials.start();
    this.#choice.opened();
    this.#trials.reset();
  }

  /** An upgrade has failed: finds out whether plain HTTP works, so that only the upgrade is blocked. */
  async #ask(url: URL): Promise<void> {
    if (this.#asking) return;
    const asking = new AbortController();
    this.#asking = asking;
    const timer = setTimeout(() => asking.abort(), HTTP_TIMEOUT);
    const works = await answersHttp({ ...this.settings.line, url }, asking.signal);
    clearTimeout(timer);
    if (this.#asking !== asking) return;
    this.#asking = undefined;
    if (!this.#greeted) this.#choice.answered(works);
  }

  // ---- watching ------------------------------------------------------------------------------------------------

  /** Sends a ping. Only a WebSocket can. */
  ping(): void {
    if (this.transport === 'websocket') this.#line?.send({ type: 'ping', timestamp: preciseNow() });
  }

  #check(): void {
    const { intervalMs, timeoutMs } = this.settings.heartbeat;
    const now = Date.now();
    // A one-way line cannot be asked; it knows by itself how long it may be silent.
    const verdict = this.transport === 'websocket' ? lineVerdict(now, this.#heardAt, this.#askedAt, intervalMs, timeoutMs) : 'quiet';
    if (verdict === 'dead' || this.hooks.waits() > ANSWER_TIMEOUT) return this.#end(1006, 'no answer in time');
    this.#line?.check?.();
    if (verdict !== 'ask') return;
    this.hooks.silent();
    this.#askedAt = now;
    this.ping();
  }

  /** Sends a ping at once, whatever was heard before: the page woke up, or its network has changed. */
  #checkNow(): void {
    this.#line?.check?.();
    if (!this.#greeted || this.transport !== 'websocket') return;
    const generation = this.#generation;
    const askedAt = Date.now();
    this.ping();
    setTimeout(() => {
      if (generation === this.#generation && this.#heardAt < askedAt) this.#end(1006, 'no answer in time');
    }, WAKE_TIMEOUT);
  }

  #online(): void {
    this.#choice.moved();
    if (this.state !== 'offline' && this.state !== 'reconnecting') return this.#checkNow();
    this.#wait(this.random() * ONLINE_SPREAD, 'reconnecting');
  }

  #offline(): void {
    if (this.state === 'reconnecting') this.#waitForNetwork();
    else this.#checkNow();
  }

  #waitForNetwork(): void {
    this.#wait(OFFLINE_RETRY * (0.75 + this.random() / 2), 'offline');
  }

  // ---- the end -------------------------------------------------------------------------------------------------

  /** Ends the line, if there is one, and everything that belongs to it. */
  #drop(): void {
    this.#generation += 1;
    clearTimeout(this.#timer);
    clearInterval(this.#beat);
    this.#trials.stop();
    const line = this.#line;
    this.#line = null;
    this.#greeted = this.#active = this.#tried = false;
    line?.close();
    if (line) this.hooks.ended();
  }

  #end(code: number, reason: string, advisedMs?: number): void {
    const now = Date.now();
    const advised = advisedMs ?? (this.#advisedAt && this.#advisedAt - now);
    const useful = this.#liveAt > 0 && now - this.#liveAt >= this.settings.backoff.stableMs;
    // A one-way line may greet and then refuse what is asked for.
    const useless = this.#tried && (!this.#greeted || (this.transport !== 'websocket' && this.#liveAt === 0));
    if (useless) this.#choice.failed(this.transport, code);
    if (useless && this.transport === 'websocket' && this.#choice.doubtful) void this.#ask(this.#place);
    this.#attempt = useful ? 0 : this.#attempt + 1;
    this.#advisedAt = undefined;
    this.#liveAt = 0;
    this.#url += 1;
    this.#drop();
    const mayRefresh = typeof this.settings.token === 'function' && !this.#tokenRefused;
    if (code === 4001 || code === 4003) this.#tokenRefused = true;
    const verdict = afterEnd({ code, attempt: this.#attempt, advisedMs: advised, mayRefresh }, this.settings.backoff, this.random());
    const generation = this.#generation;
    this.events.emit({ type: 'close', code, reason, retryInMs: verdict.delayMs });
    if (generation !== this.#generation) return; // a listener has closed, or connected again
    if (verdict.delayMs === null) return this.#set(verdict.state);
    this.#notBefore = now + verdict.atLeastMs;
    if (isOffline()) this.#waitForNetwork();
    else this.#wait(verdict.delayMs, 'reconnecting');
  }

  /** Opens the next line after a delay, and not before the server wants it. */
  #wait(delayMs: number, state: 'reconnecting' | 'offline'): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#open(), Math.max(delayMs, this.#notBefore - Date.now()));
    this.#set(state);
  }

  #set(state: ConnectionState): void {
    const previous = this.state;
    if (state === previous) return;
    this.state = state;
    this.events.emit({ type: 'state', state, previous });
  }
}
