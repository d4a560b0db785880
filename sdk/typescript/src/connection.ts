/**
 * One line at a time: opens it, watches it, and opens the next when it has ended. Owns every timer. What goes over the
 * line is the session's business.
 */
import { afterEnd, lineVerdict, TOKEN } from './backoff.js';
import type { Detour } from './detour.js';
import type { Emitter } from './emitter.js';
import { isOffline, watch } from './environment.js';
import { recall, remember } from './memory.js';
import { Tokens } from './tokens.js';
import type { Line, LineHooks, LineOptions, Openers } from './transport.js';
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
  /** How long a WebSocket may take before a fallback is opened next to it (ms). */
  raceMs: number;
  line: Omit<LineOptions, 'url' | 'token'>;
  openers: Openers;
  /** What is needed only where WebSocket does not open. */
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
/** Where WebSocket has worked, slowness says more about the gateway than about the network: it gets so many times as long. */
const RACE_FACTOR_WORKED = 3;
/** A gateway could not read a command. Twice it is believed that another transport is of use. */
const GARBLED = 1007;

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
  /** What to do while WebSocket does not open, once that has happened. */
  #detour: Detour | undefined;
  /** Upgrades in a row that failed, and whether one has worked in this network. */
  #failed = 0;
  #worked = false;
  #unwatch: (() => void) | undefined;
  /** Until a WebSocket that hangs gets company. */
  #racing: ReturnType<typeof setTimeout> | undefined;
  #url = 0;
  /** Connections in a row that were not useful. */
  #attempt = 0;
  /** The attempt got as far as to the network. */
  #tried = false;
  /** WebSockets that were closed because a command could not be read. */
  #garbled = 0;
  /** Tokens that were refused in a row. */
  #refusals = 0;
  readonly #tokens: Tokens;
  /** What the last attempt was made with. */
  #options: LineOptions | undefined;
  #greeted = false;
  #liveAt = 0;
  #heardAt = 0;
  #heard = 0;
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
    this.#tokens = new Tokens(settings.token, settings.backoff, (cause) => this.#report('token_unavailable', cause), random);
  }

  /** Begins, or tries again at once. Does nothing while there is a line. */
  connect(): void {
    if (this.#active) return;
    try {
      this.settings.urls();
    } catch (error) {
      this.#report('bad_url', error);
      this.#set('refused');
      throw error;
    }
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
    this.#detour?.stop();
    this.#attempt = this.#notBefore = this.#refusals = 0;
    this.#set('closed');
  }

  send(command: Parameters<Line['send']>[0]): void {
    this.#line?.send(command);
  }

  /** Everything wanted is acknowledged: this connection is of use. */
  settled(): void {
    if (!this.#greeted) return;
    this.#liveAt ||= Date.now();
    this.#refusals = 0;
    // An acknowledgement that was under way is no proof that the network is back.
    if (this.state === 'connecting') this.#set('live');
  }

  /** When anything came over a line (Unix ms); null before the first. */
  get lastHeardAt(): number | null {
    return this.#heard || null;
  }

  // ---- opening -------------------------------------------------------------------------------------------------

  async #open(): Promise<void> {
    this.#drop();
    this.#active = true;
    const generation = this.#generation;
    this.#timer = setTimeout(() => this.#late(), this.settings.connectTimeoutMs);
    this.#set('connecting');
    try {
      // Always a moment later: whoever closes in the same turn (React's StrictMode) has opened nothing.
      const options = await this.#fresh();
      if (generation !== this.#generation) return;
      this.#options = options;
      this.#tried = true;
      const known = this.#detour ? undefined : recall(this.#place.host);
      if ((known || this.#garbled) && this.settings.fallback.length)
        await this.#load().then(
          (detour) => detour.prefer(known),
          () => {},
        );
      if (generation !== this.#generation) return;
      await this.#openBy((this.hooks.wanted() && this.#detour?.next) || 'websocket', options);
    } catch (error) {
      if (generation !== this.#generation) return;
      this.#report('token_unavailable', error);
      if (generation === this.#generation) this.#end(1006, String(error));
    }
  }

  async #openBy(transport: TransportKind, options: LineOptions): Promise<void> {
    const generation = this.#generation;
    const hooks = this.#lineHooks();
    this.transport = transport;
    this.#heardAt = this.#askedAt = Date.now();
    try {
      const opened = await this.settings.openers[transport](options, hooks);
      if (generation !== this.#generation) return opened.close();
      this.#line = opened;
      // Only a WebSocket greets before it is asked for something.
      if (transport !== 'websocket') this.hooks.opened(opened);
      else if (this.settings.fallback.length) this.#raceSoon(opened, hooks);
    } catch (error) {
      // There is no WebSocket, or the page may not open this one: nothing of the network.
      if (generation === this.#generation) this.#report('transport_unavailable', error);
      if (generation === this.#generation) this.#end(1006, String(error));
    }
  }

  /** What a line of this generation calls. */
  #lineHooks(): LineHooks {
    const generation = this.#generation;
    return {
      push: (push) => generation === this.#generation && this.#push(push),
      end: (code, reason, advisedMs) => generation === this.#generation && this.#end(code, reason, advisedMs),
    };
  }

  #raceSoon(socket: Line, hooks: LineHooks): void {
    const { raceMs } = this.settings;
    this.#racing = setTimeout(() => void this.#race(socket, hooks), this.#worked ? raceMs * RACE_FACTOR_WORKED : raceMs);
  }

  /** A WebSocket hangs: the next transport becomes the line, and the socket goes on next to it. */
  async #race(socket: Line, hooks: LineHooks): Promise<void> {
    if (!this.hooks.wanted()) return this.#raceSoon(socket, hooks);
    const generation = this.#generation;
    const detour = await this.#load().catch(() => undefined);
    if (!detour || generation !== this.#generation || this.#greeted) return;
    this.#generation += 1;
    this.#line = null;
    await this.#openBy(detour.hold(socket, hooks), this.#options as LineOptions);
  }

  /** A WebSocket next to the line has been greeted, and takes its place. A change of lines loses nothing. */
  #adopt(line: Line, hooks: LineHooks, greeting: unknown): void {
    this.#drop();
    this.#active = this.#tried = true;
    this.#line = line;
    this.transport = 'websocket';
    this.#heardAt = this.#askedAt = Date.now();
    Object.assign(hooks, this.#lineHooks());
    hooks.push(greeting);
  }

  /** What a line is opened with, and a token that was asked for just now. */
  async #fresh(): Promise<LineOptions> {
    const token = await this.#tokens.get();
    return { ...this.settings.line, token, url: this.#place };
  }

  /** An error of our surroundings. What a function for tokens throws may hold one: its text is in no message. */
  #report(code: string, cause: unknown): void {
    const message = code === 'token_unavailable' ? 'the function for tokens failed' : (cause as Error).message;
    this.events.emit({ type: 'error', code, message, cause });
  }

  get #place(): URL {
    const urls = this.settings.urls();
    return urls[this.#url % urls.length] as URL;
  }

  #push(push: unknown): void {
    this.#heardAt = this.#heard = Date.now();
    const { type, afterMs, code } = Object(push) as { type?: unknown; afterMs?: unknown; code?: unknown };
    // The browser is wrong about the network, or it is there again.
    if (this.state === 'offline' && (type === 'pong' || this.transport !== 'websocket')) this.#set('live');
    if (type === 'token_expiring' && this.#tokens.change) void this.#tokens.renew((token) => this.send({ type: 'auth', token }));
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
    clearTimeout(this.#racing);
    this.#greeted = true;
    const { intervalMs, timeoutMs } = this.settings.heartbeat;
    this.#beat = setInterval(() => this.#check(), Math.min(intervalMs, timeoutMs) / 2);
    if (this.transport === 'websocket') {
      this.#worked = true;
      this.#failed = 0;
    }
    if (!this.#detour) return;
    remember(this.#place.host, this.transport);
    this.#detour.greeted(this.transport);
  }

  async #load(): Promise<Detour> {
    const { Detour } = await this.settings.rare();
    this.#detour ??= new Detour(
      this.settings,
      {
        fresh: () => this.#fresh(),
        works: (line, hooks, greeting) => this.#adopt(line, hooks, greeting),
        // What the gateway says counts; a socket that just fails leaves it to the other transport, if that is still there.
        failed: (code, reason, advisedMs) => {
          if (this.#greeted || !this.#active || (code === 1006 && this.#line)) return;
          this.transport = 'websocket';
          this.#end(code, reason, advisedMs);
        },
        misplaced: (message) => this.events.emit({ type: 'error', code: 'not_found', message }),
        refused: (code, reason) => !this.#greeted && this.#end(code, reason),
      },
      this.random,
      { failed: this.#failed, worked: this.#worked },
    );
    return this.#detour;
  }

  /** A line was of no use. One failed upgrade is no reason to load anything: most often the gateway is away. */
  async #useless(code: number): Promise<void> {
    const { transport } = this;
    const options = this.#options as LineOptions;
    if (!this.#detour) {
      if (code === 1006 && !this.#failed) this.#failed = 1;
      else if (code !== 1006 && code !== GARBLED) this.#failed = 0;
      else if (this.settings.fallback.length || options.token) await this.#load().catch(() => {});
    }
    this.#detour?.failed(transport, code, options);
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
    this.#worked = false;
    this.#detour?.moved();
    if (this.#active || (this.state !== 'offline' && this.state !== 'reconnecting')) return this.#checkNow();
    this.#wait(this.random() * ONLINE_SPREAD, 'reconnecting');
  }

  #offline(): void {
    if (this.state === 'reconnecting') return this.#waitForNetwork();
    if (this.state === 'live') this.#set('offline');
    this.#checkNow();
  }

  #waitForNetwork(): void {
    this.#wait(OFFLINE_RETRY * (0.75 + this.random() / 2), 'offline');
  }

  // ---- the end -------------------------------------------------------------------------------------------------

  /** Ends the line, if there is one, and everything that belongs to it. */
  #drop(): void {
    clearTimeout(this.#timer);
    clearInterval(this.#beat);
    this.#tokens.stop();
    this.#detour?.ended();
    this.#greeted = this.#active = this.#tried = false;
    this.#leave();
  }

  #leave(): void {
    this.#generation += 1;
    clearTimeout(this.#racing);
    const line = this.#line;
    this.#line = null;
    line?.close();
    if (line) this.hooks.ended();
  }

  #late(): void {
    this.#detour?.ended();
    this.#end(1006, 'not connected in time');
  }

  #end(code: number, reason: string, advisedMs?: number): void {
    if (code === 1006 && !this.#greeted && this.#detour?.pending) {
      // It was opened because a WebSocket hangs, which still may open.
      void this.#useless(code);
      this.transport = 'websocket';
      return this.#leave();
    }
    const now = Date.now();
    const advised = advisedMs ?? (this.#advisedAt && this.#advisedAt - now);
    const useful = this.#liveAt > 0 && now - this.#liveAt >= this.settings.backoff.stableMs;
    // What we send is JSON: a compressor has garbled it, and other transports have none.
    const garbled = code === GARBLED && this.transport === 'websocket' && !!this.settings.fallback.length && this.#garbled++ < 2;
    // A one-way line may greet and then refuse what is asked for.
    const useless = this.#tried && (garbled || !this.#greeted || (this.transport !== 'websocket' && this.#liveAt === 0));
    if (useless) void this.#useless(code);
    this.#attempt = useful ? 0 : this.#attempt + 1;
    this.#advisedAt = undefined;
    this.#liveAt = 0;
    this.#url += 1;
    this.#drop();
    if (TOKEN.has(code)) this.#refusals += 1;
    const refusals = this.#tokens.change ? this.#refusals : Number.POSITIVE_INFINITY;
    const verdict = afterEnd(
      { code: garbled ? 1006 : code, attempt: this.#attempt, advisedMs: advised, refusals },
      this.settings.backoff,
      this.random(),
    );
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
