/** The client as applications see it: a connection, a session on it, and the events of both. */
import { Connection, type ConnectionHooks, preciseNow, type Settings } from './connection.js';
import { Emitter } from './emitter.js';
import { list, type Push } from './push.js';
import { Session } from './session.js';
import { openWebSocket } from './transport-ws.js';
import type {
  ClientEvent,
  ClientOptions,
  ConnectionState,
  Cursor,
  EventOf,
  Message,
  SubscribeOptions,
  Subscription,
  TransportKind,
  WebSocketConstructor,
} from './types.js';

const PROTOCOL = 'wsgateway.v1';

/** Types of payloads by channel or pattern: `createClient<{ [price: `${string}.price`]: Price }>(…)`. */
export type Channels = Record<string, unknown>;

/** What a client needs of its connection. */
export type Link = Pick<Connection, 'state' | 'transport' | 'lastHeardAt' | 'connect' | 'close' | 'send' | 'ping' | 'settled'>;

/** What a client shared by tabs replaces and listens to. */
export interface Parts {
  /** Another connection than one of its own. */
  link?(events: Emitter, hooks: ConnectionHooks, session: Session): Link;
  /** Everything wanted is acknowledged. */
  settled?(session: Session): void;
}

export class WsGatewayClient<C extends Channels = Channels> {
  readonly #events = new Emitter();
  readonly #session: Session;
  readonly #connection: Link;
  /** Round trip of the last ping (ms); null before the first answer. */
  latencyMs: number | null = null;

  /** `parts` is for this package alone. */
  constructor(options: ClientOptions, parts: Parts = {}) {
    const { cursor = null, batch = true, lazy = false } = options;
    const session = new Session(this.#events, { cursor, batch }, () => {
      this.#connection.settled();
      parts.settled?.(session);
    });
    this.#session = session;
    const hooks: ConnectionHooks = {
      opened: (line) => session.opened(line),
      push: (push) => this.#push(Object(push)),
      ended: () => session.ended(),
      silent: () => session.locate(),
      waits: () => session.waits,
      wanted: () => session.wanted.length > 0,
    };
    this.#connection = parts.link?.(this.#events, hooks, session) ?? new Connection(settings(options, session), this.#events, hooks);
    if (!lazy) this.connect();
  }

  get state(): ConnectionState {
    return this.#connection.state;
  }

  get transport(): TransportKind {
    return this.#connection.transport;
  }

  /** Channels that are wanted and that the gateway refuses at the moment. */
  get rejected(): readonly string[] {
    return this.#session.rejected;
  }

  /** Channels that are acknowledged, and on which nothing has come yet: none may be published there. */
  get silent(): readonly string[] {
    return this.#session.silent;
  }

  /** When the gateway was heard last, by a message or a sign of life (Unix ms); null before the first. */
  get lastHeardAt(): number | null {
    return this.#connection.lastHeardAt;
  }

  /** Where to resume. Store it, and pass it to the next client as the option `cursor`: nothing in between is lost, as far
   * back as the stream keeps messages. Inside a handler it is at or before the message that is being handled. */
  get cursor(): Cursor | null {
    return this.#session.cursor;
  }

  /** Connects, or tries again at once instead of waiting. Does nothing while there is a connection. Throws for a URL that
   * nothing can be connected to. */
  connect(): void {
    this.#connection.connect();
  }

  /** Ends the connection. Subscriptions and cursor stay: `connect()` resumes where this stopped. */
  close(): void {
    this.#connection.close();
  }

  /** Receives the messages of channels and patterns, each message once, in the order of the stream. */
  subscribe<P extends keyof C & string, T = C[P]>(
    channels: P | readonly P[],
    handler: (message: Message<T>) => void,
    options: SubscribeOptions = {},
  ): Subscription {
    const list: readonly string[] = typeof channels === 'string' ? [channels] : [...channels];
    const unsubscribe = this.#session.subscribe(list, handler as (message: Message) => void, options);
    return {
      channels: list,
      unsubscribe,
      get state() {
        return unsubscribe.status().state;
      },
      get rejected() {
        return unsubscribe.status().rejected;
      },
    };
  }

  /** Calls back for each event of a type, until the returned function is called. */
  on<K extends ClientEvent['type']>(type: K, listener: (event: EventOf<K>) => void): () => void {
    return this.#events.on(type, listener);
  }

  /** Measures the round trip to the gateway; the answer is a `pong` event. */
  ping(): void {
    this.#connection.ping();
  }

  /** Sends a new token on the existing connection. */
  authenticate(token: string): void {
    this.#connection.send({ type: 'auth', token });
  }

  #push(push: Push): void {
    switch (push.type) {
      case 'message':
        return this.#session.message(push);
      case 'batch':
        for (const message of list(push.messages)) this.#session.message(Object(message));
        return;
      case 'connection:established':
        return this.#session.greeted(push);
      case 'subscription_ack':
        return this.#session.acknowledged(push);
      case 'live':
        return this.#session.live(push);
      case 'gap':
        return this.#session.gap(push);
      case 'unsubscribed':
        return this.#session.unsubscribed(push);
      case 'pong':
        return this.#pong(push);
      case 'error':
        return this.#session.refused(push);
    }
  }

  #pong(push: Push): void {
    this.#session.pong(push);
    const { timestamp, ts } = push;
    if (typeof timestamp !== 'number' || typeof ts !== 'number') return;
    this.latencyMs = preciseNow() - timestamp;
    this.#events.emit({ type: 'pong', timestamp, ts, roundTripMs: this.latencyMs });
  }
}

/** A client that connects at once, unless it is `lazy`. */
export function createClient<C extends Channels = Channels>(options: ClientOptions): WsGatewayClient<C> {
  return new WsGatewayClient<C>(options);
}

function settings(options: ClientOptions, session: Session): Settings {
  const { url, urls = url === undefined ? [] : [url], fallback = ['sse', 'poll'], protocols = PROTOCOL } = options;
  const { token, connectTimeoutMs = 15_000, probeMs = 30_000, raceMs = 2_000 } = options;
  const global = globalThis as { WebSocket?: WebSocketConstructor; location?: { href: string } };
  if (urls.length === 0) throw new Error('createClient needs url or urls');
  let places: URL[] | undefined;
  const heartbeat = { intervalMs: 15_000, timeoutMs: 10_000, ...options.heartbeat };
  return {
    urls: () => {
      places ??= urls.map((one) => endpoint(one, global.location?.href));
      return places;
    },
    token,
    fallback,
    backoff: { baseMs: 500, capMs: 30_000, stableMs: 10_000, ...options.backoff },
    heartbeat,
    connectTimeoutMs,
    probeMs,
    raceMs,
    line: {
      protocols,
      WebSocket: options.WebSocket ?? global.WebSocket,
      fetch: options.fetch ?? globalThis.fetch?.bind(globalThis),
      cursor: () => session.cursor,
      marginMs: heartbeat.timeoutMs,
    },
    openers: {
      websocket: openWebSocket,
      sse: async (line, hooks) => (await rare()).openSse(line, hooks),
      poll: async (line, hooks) => (await rare()).openPoll(line, hooks),
    },
    rare,
  };
}

/** Loaded by those who need it. */
const rare = () => import('./fallback.js');

/** A WebSocket URL. `http`, `https` and, in a page, relative URLs are accepted. */
export function endpoint(url: string, page: string | undefined): URL {
  let absolute: URL | undefined;
  try {
    absolute = new URL(url, page);
    absolute.protocol = absolute.protocol.replace('http', 'ws');
  } catch {}
  if (absolute?.protocol.startsWith('ws')) return absolute;
  throw new Error(`cannot connect to ${JSON.stringify(url)}: write wss://host/path, or in a page a path`);
}
