/**
 * One line at a time: opens it, watches it, and opens the next when it has ended. Owns every timer. What goes over the
 * line is the session's business.
 */
import { afterEnd, BANNED, ceiling, lineVerdict, TOKEN } from './backoff.js';
import type { Emitter } from './emitter.js';
import { isOffline, watch } from './environment.js';
import type { Line, LineHooks, LineOptions, Openers } from './transport.js';
import { TransportChoice } from './transport-choice.js';
import type { Trials } from './trials.js';
import type { BackoffOptions, ConnectionState, EventOf, HeartbeatOptions, TokenSource, TransportKind } from './types.js';

export interface Settings {
  /** Throws when there is none. Resolved late: a server that renders a page has no location. */
  urls: () => readonly URL[];
  token: TokenSource | undefined;
  fallback: readonly TransportKind[];
  backoff: BackoffOptions;
  heartbeat: HeartbeatOptions;
  connectTimeoutMs: number;
  probeMs: number;
  line: Omit<LineOptions, 'url' | 'token'>;
  openers: Openers;
  /** What only networks that block WebSocket need. */
  rare: () => Promise<typeof import('./fallback.js')>;
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
  #trials: Trials | undefined;
  #unwatch: (() => void) | undefined;
  #url = 0;
  /** Connections in a row that were not useful. */
  #attempt = 0;
  /** The attempt got as far as to the network. */
  #tried = false;
  /** Tokens that were refused in a row. */
  #refusals = 0;
  /** Until a token that is about to expire is asked for again. */
  #refresh: ReturnType<typeof setTimeout> | undefined;
  /** What the last attempt was made with. */
  #options: LineOptions | undefined;
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
    this.#attempt = this.#notBefore = this.#refusals = 0;
    this.#set('closed');
  }

  send(command: Parameters<Line['send']>[0]): void {
    this.#line?.send(command);
  }

  /** Everything wanted is acknowledged: this connection is of use. */
  settled(): void {
    if (!this.#greeted || this.state === 'live') return;
    this.#liveAt = Date.now();
    this.#refusals = 0;
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
      const options = await this.#fresh();
      if (!current()) return;
      this.#options = options;
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
      if (!current()) return;
      if (!this.#tried) this.#unavailable(error);
      if (current()) this.#end(1006, String(error));
    }
  }

  /** What a line is opened with, and a token that was asked for just now. */
  async #fresh(): Promise<LineOptions> {
    const { token, line } = this.settings;
    const value = await (typeof token === 'function' ? token() : token);
    return { ...line, token: value, url: this.#place };
  }

  #unavailable(cause: unknown): void {
    this.events.emit({ type: 'error', code: 'token_unavailable', message: 'the function for tokens failed', cause });
  }

  /** The token of the line is about to expire: gets another for it, again and again until the line has ended. */
  async #renew(attempt = 0): Promise<void> {
    const generation = this.#generation;
    clearTimeout(this.#refresh);
    try {
      const { token } = await this.#fresh();
      if (generation === this.#generation && token) this.send({ type: 'auth', token });
    } catch (error) {
      if (generation !== this.#generation) return;
      this.#unavailable(error);
      const { backoff } = this.settings;
      if (generation === this.#generation)
        this.#refresh = setTimeout(() => void this.#renew(attempt + 1), this.random() * ceiling(attempt, backoff));
    }
  }

  get #place(): URL {
    const urls = this.settings.urls();
    return urls[this.#url % urls.length] as URL;
  }

  #push(push: unknown): void {
    this.#heardAt = Date.now();
    const { type, afterMs, code } = Object(push) as { type?: unknown; afterMs?: unknown; code?: unknown };
    if (type === 'token_expiring' && typeof this.settings.token === 'function') void this.#renew();
    if (type === 'reconnect' && typeof afterMs === 'number') this.#advisedAt = Date.now() + afterMs;
    const first = type === 'connection:established' && !this.#greeted;
    if (first) this.#greet();
    this.hooks.push(push);
    // Another user has logged in. A change of lines loses nothing.
    if (type === 'error' && code === 'wrong_user') void this.#open();
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
    if (this.transport !== 'websocket') return void this.#try();
    this.#choice.opened();
    this.#trials?.reset();
  }

  /** Tries WebSocket from time to time, next to the line of another transport. */
  async #try(): Promise<void> {
    const { settings } = this;
    const generation = this.#generation;
    const { Trials } = await settings.rare(); // loaded with the transport
    if (generation !== this.#generation) return;
    const open = async (hooks: LineHooks): Promise<Line> => settings.openers.websocket(await this.#fresh(), hooks);
    const works = (): void => {
      this.#choice.opened();
      void this.#open(); // a change of lines loses nothing
    };
    this.#trials ??= new Trials(settings, open, works, this.random);
    this.#trials.start();
  }

  /** Upgrades have failed: finds out whether plain HTTP works, so that only the upgrade is blocked, or the token is refused. */
  async #ask(): Promise<void> {
    const options = this.#options;
    if (this.#asking || !options || !this.#choice.doubtful || !(options.token || this.settings.fallback.length)) return;
    const asking = new AbortController();
    this.#asking = asking;
    const timer = setTimeout(() => asking.abort(), HTTP_TIMEOUT);
    const code = await this.settings
      .rare()
      .then((rare) => rare.answersHttp(options, asking.signal))
      .catch(() => 0);
    clearTimeout(timer);
    if (this.#asking !== asking) return;
    this.#asking = undefined;
    if (this.#greeted) return;
    // What a page is not told of its upgrade.
    if (code === 4001) this.#end(code, 'the token was refused');
    else if (code === BANNED) this.#end(code, 'banned');
    else this.#choice.answered(code > 0);
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
    clearTimeout(this.#refresh);
    this.#trials?.stop();
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
    if (useless && this.transport === 'websocket') void this.#ask();
    this.#attempt = useful ? 0 : this.#attempt + 1;
    this.#advisedAt = undefined;
    this.#liveAt = 0;
    this.#url += 1;
    this.#drop();
    const { token, backoff } = this.settings;
    if (TOKEN.has(code)) this.#refusals += 1;
    const refusals = typeof token === 'function' ? this.#refusals : Number.POSITIVE_INFINITY;
    const verdict = afterEnd({ code, attempt: this.#attempt, advisedMs: advised, refusals }, backoff, this.random());
    const generation = this.#generation;
    if (TOKEN.has(code) && refusals > 1) this.events.emit({ type: 'error', code: 'unauthorized', message: reason });
    this.events.emit({ type: 'close', code, reason, retryInMs: verdict.delayMs });
    if (generation !== this.#generation) return; // a listener has closed, or connected again
    if (verdict.delayMs === null) return this.#set(verdict.state);
    this.#notBefore = now + verdict.atLeastMs;
    if (isOffline()) this.#waitForNetwork();
    else this.#wait(verdict.delayMs, verdict.state);
  }

  /** Opens the next line after a delay, and not before the server wants it. */
  #wait(delayMs: number, state: ConnectionState): void {
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
