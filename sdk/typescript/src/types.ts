/** What users of the client see: options, messages, events. Types only. */

/** A place in a stream: everything up to `offset` has been delivered. Valid on every pod. Plain data, meant to be stored. */
export interface Cursor {
  /** The stream's life; offsets of another epoch mean nothing. */
  readonly epoch: string;
  readonly offset: number;
}

/** One message of a channel: a value, or the deletion of the value before it (`deleted` says why). */
export type Message<T = unknown> = ValueMessage<T> | DeletedMessage;

/** What every message has. */
interface Envelope {
  readonly type: 'message';
  readonly channel: string;
  /** Sequence of the message in the stream. */
  readonly offset: number;
  /** Offset of the message before it on the same channel; 0 when there is none or it is not known. */
  readonly prev: number;
  /** When the stream stored it (Unix ms). */
  readonly ts: number;
}

/** A value. */
export interface ValueMessage<T = unknown> extends Envelope {
  /** The payload; a `Uint8Array` when the publisher did not send JSON (`encoding` says so). */
  readonly data: T;
  readonly encoding?: 'base64';
  /** The last value from before the subscription, asked for with `snapshot`. */
  readonly snapshot?: boolean;
  readonly deleted?: undefined;
}

/** The value of the channel was deleted: there is none until the next message. */
export interface DeletedMessage extends Envelope {
  readonly deleted: DeleteReason;
  readonly data?: undefined;
  readonly encoding?: undefined;
  readonly snapshot?: undefined;
}

/** Why a value was deleted. `MaxAge`, `Purge` and `Remove`: by the stream, for its age or on request. `DEL` and `PURGE`: by
 * a publisher, through the NATS key-value API. */
export type DeleteReason = 'MaxAge' | 'Purge' | 'Remove' | 'DEL' | 'PURGE';

export type ConnectionState =
  /** Not started, or stopped by `close()` or by the server's 1000. */
  | 'closed'
  | 'connecting'
  /** Connected, and every channel that was wanted at the time is acknowledged. */
  | 'live'
  /** Waiting for the next attempt. */
  | 'reconnecting'
  /** The browser reports that there is no network: waiting for its `online` event, with an attempt now and then. */
  | 'offline'
  /** The gateway does not accept our tokens, not even a fresh one: waiting for the next attempt with another. */
  | 'unauthorized'
  /** The gateway's reason will not go away by itself (token, scope, limit): `connect()` tries again. */
  | 'refused';

export type TransportKind = 'websocket' | 'sse' | 'poll';

/** Why messages of a channel are missing. `missed` is detected by the client from `prev`; the gateway reports the others. */
export type GapReason = 'slow_consumer' | 'retention' | 'epoch' | 'source' | 'missed';

export type ClientEvent =
  | { readonly type: 'state'; readonly state: ConnectionState; readonly previous: ConnectionState }
  | {
      readonly type: 'open';
      readonly transport: TransportKind;
      readonly epoch: string;
      readonly connectionId?: string;
      readonly pod?: string;
    }
  | { readonly type: 'close'; readonly code: number; readonly reason: string; readonly retryInMs: number | null }
  /** `recovered` is set when the subscription resumed from a cursor. False: part is missing, and `gap` events say what. */
  | { readonly type: 'subscribed'; readonly channels: readonly string[]; readonly offset: number; readonly recovered?: boolean }
  | { readonly type: 'rejected'; readonly channel: string; readonly code: string }
  /** Offsets `from` to `to`, both included, did not come. `channel` may be a pattern. */
  | { readonly type: 'gap'; readonly channel: string; readonly from: number; readonly to: number; readonly reason: GapReason }
  | { readonly type: 'duplicate'; readonly channel: string; readonly offset: number }
  | { readonly type: 'pong'; readonly timestamp: number; readonly ts: number; readonly roundTripMs: number }
  | { readonly type: 'error'; readonly code: string; readonly message: string; readonly cause?: unknown };

export type EventOf<K extends ClientEvent['type']> = Extract<ClientEvent, { type: K }>;

export type SubscriptionState =
  /** Some of its channels are not acknowledged on this connection, or there is none: values may be out of date. */
  | 'pending'
  /** Every channel that was not rejected is acknowledged. */
  | 'live'
  /** Every channel was rejected. */
  | 'rejected'
  /** `unsubscribe()` was called. */
  | 'ended';

export interface SubscriptionStatus {
  readonly state: SubscriptionState;
  /** Codes of the channels that the gateway has rejected, by channel. */
  readonly rejected: Readonly<Record<string, string>>;
}

export interface SubscribeOptions {
  /** The last value of each channel first, also of channels that other subscriptions have already. */
  snapshot?: boolean;
  /** Called when the state of the subscription or its rejected channels change. */
  onState?: (status: SubscriptionStatus) => void;
}

export interface Subscription extends SubscriptionStatus {
  readonly channels: readonly string[];
  /** Ends it. Other subscriptions keep the channel. */
  unsubscribe(): void;
}

/** What the client needs of a WebSocket; those of browsers, of Node 22 and of the `ws` package have it. */
export interface WebSocketLike {
  readonly readyState: number;
  onopen: ((event: never) => void) | null;
  onmessage: ((event: never) => void) | null;
  onclose: ((event: never) => void) | null;
  onerror: ((event: never) => void) | null;
  send(data: string): void;
  close(code?: number): void;
}
export type WebSocketConstructor = new (url: string, protocols?: string | string[]) => WebSocketLike;

export interface ClientOptions {
  /** Where the gateway is, such as `wss://push.example.com/ws`; in browsers also relative to the page. */
  url?: string;
  /** Several gateways with the same stream: the next one is used after each connection that ended. */
  urls?: readonly string[];
  /** Says who we are. A function is called before every attempt, and when the token is about to expire; when it fails it is
   * called again later. Sent as the subprotocol `bearer.TOKEN`, or as `Authorization` where there is no WebSocket. */
  token?: TokenSource;
  /** Resume from here: a stored value of `client.cursor`. */
  cursor?: Cursor | null;
  /** Accept several messages in one frame. Default true. */
  batch?: boolean;
  /** Connect with `connect()`, not at once. Default false. */
  lazy?: boolean;
  /** Subprotocols to request. Default `wsgateway.v1`. */
  protocols?: string | string[];
  /** What to use, in this order, in networks that block WebSocket. Default `['sse', 'poll']`; none for `[]`. */
  fallback?: readonly Exclude<TransportKind, 'websocket'>[];
  /** Time until WebSocket is tried again while another transport is in use: random between half of it and all of it,
   * doubled each time up to ten minutes. Default 30000. */
  probeMs?: number;
  /** Time until the first fallback is opened next to a WebSocket that hangs; the first that opens is used. Three times as
   * long where WebSocket has worked before. Default 2000. */
  raceMs?: number;
  /** Full jitter: the delay is random below `baseMs * 2^attempt`, at most `capMs`; attempts are forgotten after a
   * connection was live for `stableMs`. Defaults 500, 30000, 10000. */
  backoff?: Partial<BackoffOptions>;
  /** Silence after which a ping is sent, and the time that its answer may take. Defaults 15000, 10000. */
  heartbeat?: Partial<HeartbeatOptions>;
  /** Time for one attempt, from the token to the greeting. Default 15000. */
  connectTimeoutMs?: number;
  /** Default: the global one. Node before 22 has none: pass the one of the `ws` package. */
  WebSocket?: WebSocketConstructor;
  /** Default: the global one. */
  fetch?: typeof fetch;
}

export type TokenSource = string | (() => string | Promise<string>);

export interface BackoffOptions {
  baseMs: number;
  capMs: number;
  stableMs: number;
}

export interface HeartbeatOptions {
  intervalMs: number;
  timeoutMs: number;
}
