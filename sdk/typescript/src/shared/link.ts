/**
 * A tab's connection that is not its own: to the hub, wherever that is. Its lines are numbered, and begin anew whenever the hub
 * changes, the hub's connection ends, or the tab was too slow; the session resumes each from the cursor of this tab.
 */

import { endpoint, type Link } from '../client.js';
import { type ConnectionHooks, preciseNow } from '../connection.js';
import type { Emitter } from '../emitter.js';
import { watch } from '../environment.js';
import { list } from '../push.js';
import type { Session } from '../session.js';
import type { Line } from '../transport.js';
import type { ClientOptions, ConnectionState, TokenSource, TransportKind } from '../types.js';
import type { HubOptions, Port, ToHub, ToTab } from './wire.js';

/** How often a hub is asked for a sign of life (ms). */
const PING_MS = 5_000;
/** Questions in a row without an answer. Not a time: a page that slept for an hour has an answer to read before it asks again. */
const UNANSWERED = 2;

/** Finds hubs. */
export interface Meeting {
  /** There is a hub; or a hub is lost and the next is being looked for. */
  begin(hooks: { found(port: Port<ToHub>): void; data(data: ToTab): void }): void;
  /** The hub does not answer. */
  lost(): void;
  end(): void;
}

export class SharedLink implements Link {
  state: ConnectionState = 'closed';
  transport: TransportKind = 'websocket';
  lastHeardAt: number | null = null;
  #port: Port<ToHub> | undefined;
  #line = 0;
  #isOpen = false;
  #settled = false;
  #isUp = false;
  #beat: ReturnType<typeof setInterval> | undefined;
  #unwatch: (() => void) | undefined;
  /** Questions that the hub has not answered. */
  #unanswered = 0;

  constructor(
    readonly options: ClientOptions,
    readonly meeting: Meeting,
    readonly events: Emitter,
    readonly hooks: ConnectionHooks,
    readonly session: Session,
  ) {}

  connect(): void {
    if (this.#port) return this.#port.post({ type: 'connect' });
    if (this.state !== 'closed' && this.state !== 'refused') return;
    try {
      hubOptions(this.options);
    } catch (error) {
      this.events.emit({ type: 'error', code: 'bad_url', message: (error as Error).message, cause: error });
      this.#set('refused');
      throw error;
    }
    this.#set('connecting');
    this.meeting.begin({ found: (port) => this.#found(port), data: (data) => this.#receive(data) });
    this.#unwatch ??= watch({ online() {}, offline() {}, woke: () => this.#port?.post({ type: 'woke' }) });
    this.#beat ??= setInterval(() => this.#check(), PING_MS);
  }

  close(): void {
    this.#port?.post({ type: 'bye' });
    clearInterval(this.#beat);
    this.#unwatch?.();
    this.#beat = this.#unwatch = undefined;
    this.#endLine();
    this.#port = undefined;
    this.meeting.end();
    this.#set('closed');
  }

  send(command: Parameters<Line['send']>[0]): void {
    this.#port?.post({ type: 'command', line: this.#line, command });
  }

  ping(): void {
    this.send({ type: 'ping', timestamp: preciseNow() });
  }

  settled(): void {
    if (!this.#isOpen || this.state === 'closed') return;
    // By now the hub knows how far away the gateway is.
    if (!this.#settled) this.ping();
    this.#settled = true;
    this.#port?.post({ type: 'settled', line: this.#line });
    if (this.#isUp) this.#set('live');
  }

  // ---- lines ---------------------------------------------------------------------------------------------------

  #found(port: Port<ToHub>): void {
    this.#endLine();
    this.#port = port;
    this.#unanswered = 0;
    this.#isUp = false;
    this.#beginLine();
  }

  #beginLine(): void {
    const { session, options } = this;
    this.#line += 1;
    const line = this.#line;
    const hasToken = options.token !== undefined;
    this.#port?.post({ type: 'hello', line, cursor: session.cursor, channels: session.wanted, options: hubOptions(options), hasToken });
    this.#isOpen = true;
    this.hooks.opened({
      send: (command) => line === this.#line && this.send(command),
      close() {},
    });
    this.ping();
  }

  #endLine(): void {
    if (!this.#isOpen) return;
    this.#isOpen = this.#settled = false;
    this.hooks.ended();
  }

  #check(): void {
    if (!this.#port) return;
    this.#unanswered += 1;
    if (this.#unanswered <= UNANSWERED) return this.ping();
    this.#endLine();
    this.#port = undefined;
    this.#set('connecting');
    this.meeting.lost();
  }

  // ---- what the hub says ---------------------------------------------------------------------------------------

  #receive(data: ToTab): void {
    this.#unanswered = 0;
    switch (data.type) {
      case 'pushes':
        if (data.line === this.#line && this.#isOpen) {
          this.lastHeardAt = data.heardAt;
          for (const push of list(data.pushes)) this.hooks.push(push);
        }
        if (data.count > 0) this.#port?.post({ type: 'taken', count: data.count });
        return;
      case 'ended':
        if (data.line !== this.#line) return;
        this.#endLine();
        return this.#beginLine();
      case 'status':
        this.transport = data.transport;
        this.lastHeardAt = data.heardAt;
        return this.#follow(data.state);
      case 'event':
        return this.events.emit(data.event);
      case 'ask':
        return void this.#token(data.id);
    }
  }

  /** Our state is that of the hub's connection, but for what we ourselves still wait for. */
  #follow(state: ConnectionState): void {
    this.#isUp = state === 'live';
    this.#set(this.#isUp && !this.#settled ? 'connecting' : state);
  }

  async #token(id: number): Promise<void> {
    const port = this.#port;
    const token = await call(this.options.token).catch((cause: unknown) => {
      this.events.emit({ type: 'error', code: 'token_unavailable', message: 'the function for tokens failed', cause });
      return undefined;
    });
    port?.post({ type: 'token', id, ...(token && { token }) });
  }

  #set(state: ConnectionState): void {
    const previous = this.state;
    if (state === previous) return;
    this.state = state;
    this.events.emit({ type: 'state', state, previous });
  }
}

const call = async (source: TokenSource | undefined): Promise<string | undefined> => (typeof source === 'function' ? source() : source);

/** What the hub connects with: places that mean the same everywhere, and nothing that cannot be cloned. */
export function hubOptions(options: ClientOptions): HubOptions {
  const {
    url,
    urls = url === undefined ? [] : [url],
    batch,
    protocols,
    fallback,
    probeMs,
    raceMs,
    backoff,
    heartbeat,
    connectTimeoutMs,
  } = options;
  const page = (globalThis as { location?: { href: string } }).location?.href;
  const given = { batch, protocols, fallback, probeMs, raceMs, backoff, heartbeat, connectTimeoutMs };
  const set = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
  return { ...set, urls: urls.map((one) => endpoint(one, page).href) };
}
