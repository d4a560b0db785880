/** What hooks show of a client, as stores that `useSyncExternalStore` reads: the newest of each frame. */
import { matches } from './channels.js';
import { type Pace, paced } from './frames.js';
import type {
  ClientEvent,
  ConnectionState,
  DeleteReason,
  EventOf,
  Message,
  SubscriptionState,
  TransportKind,
  WsGatewayClient,
} from './index.js';

export interface Store<V> {
  subscribe(changed: () => void): () => void;
  get(): V;
}

export interface ChannelOptions<T = unknown, S = T> extends Pace {
  /** The last value at once, not only the next. Default true. */
  snapshot?: boolean | undefined;
  /** Render once per animation frame at most, with the newest value. Default true; false renders with each message. */
  coalesce?: boolean | undefined;
  /** Renders a second at most. */
  maxRate?: number | undefined;
  /** The part of a payload that is shown: nothing is rendered while it stays the same. */
  select?: ((data: T) => S) | undefined;
  /** When two parts are the same. Default `Object.is`. */
  equal?: ((one: S, other: S) => boolean) | undefined;
}

/** `T` is the payload, `S` what `select` makes of it. */
export interface ChannelValue<S, T = S> {
  /** Payload of the latest message; undefined before the first, and after a deletion. */
  readonly data: S | undefined;
  /** Why there is no value any more; undefined while there is one, and before the first. */
  readonly deleted: DeleteReason | undefined;
  /** The message that brought it. */
  readonly message: Message<T> | undefined;
  /** When that came to this page (Unix ms). */
  readonly lastMessageAt: number | undefined;
  /** There is a value, but no connection that would bring the next: it may be out of date. */
  readonly stale: boolean;
  /** Whether the gateway has acknowledged the channel. */
  readonly state: SubscriptionState;
  /** Holes in this channel since the component was mounted; also those reported for a pattern that it belongs to. */
  readonly gaps: number;
  /** Why the gateway refused the channel, if it does. */
  readonly rejected: string | undefined;
}

export const NOTHING: ChannelValue<never> = {
  data: undefined,
  deleted: undefined,
  message: undefined,
  lastMessageAt: undefined,
  stale: false,
  state: 'pending',
  gaps: 0,
  rejected: undefined,
};

type Fields = Record<string, unknown>;

/** Whether two values show the same; with a selector, whichever message they are from. */
function same<T, S>(one: ChannelValue<T>, other: ChannelValue<T>, { select, equal = Object.is }: ChannelOptions<T, S>): boolean {
  const { data, message, lastMessageAt, ...rest } = other;
  const fields = Object.entries(select ? rest : other);
  if (fields.some(([field, value]) => field !== 'data' && !Object.is(value, (one as unknown as Fields)[field]))) return false;
  if (!select || one.data === undefined || data === undefined) return Object.is(one.data, data);
  return equal(select(one.data), select(data));
}

/** The newest of a channel; `options` are those of the latest render. */
export function channelStore<T, S>(
  client: WsGatewayClient,
  channel: string | null,
  snapshot: boolean,
  options: () => ChannelOptions<T, S>,
): Store<ChannelValue<T>> {
  let newest: ChannelValue<T> = NOTHING;
  let shown = newest;
  return {
    get: () => shown,
    subscribe(changed) {
      if (channel === null) return () => {};
      const pace = paced(() => {
        if (same(shown, newest, options())) return false;
        const counts = shown.message !== newest.message;
        shown = newest;
        changed();
        return counts;
      }, options);
      const set = (part: Partial<ChannelValue<T>>): void => {
        newest = { ...newest, ...part };
        newest = { ...newest, stale: newest.data !== undefined && (newest.state !== 'live' || client.state !== 'live') };
        pace.soon(!part.message);
      };
      const subscription = client.subscribe<string, T>(
        channel,
        (message) => set({ data: message.data, deleted: message.deleted, message, lastMessageAt: Date.now() }),
        { snapshot, onState: ({ state, rejected }) => set({ state, rejected: rejected[channel] }) },
      );
      set({ state: subscription.state, rejected: subscription.rejected[channel] });
      const ends = [
        client.on('gap', (gap) => matches(gap.channel, channel) && set({ gaps: newest.gaps + 1 })),
        client.on('state', () => set({})),
        subscription.unsubscribe,
        pace.cancel,
      ];
      return () => {
        for (const end of ends) end();
      };
    },
  };
}

export interface ConnectionValue {
  readonly state: ConnectionState;
  readonly transport: TransportKind;
  /** Round trip of the last ping (ms). */
  readonly latencyMs: number | null;
  /** Channels that the gateway refuses at the moment. */
  readonly rejected: readonly string[];
  /** Holes on all channels, and the last of them. */
  readonly gaps: number;
  readonly lastGap: EventOf<'gap'> | undefined;
  readonly lastError: EventOf<'error'> | undefined;
  readonly reconnects: number;
}

const CHANGES = ['open', 'pong', 'rejected', 'subscribed'] satisfies ClientEvent['type'][];

export function connectionStore(client: WsGatewayClient): Store<ConnectionValue> {
  const read = (): Pick<ConnectionValue, 'state' | 'transport' | 'latencyMs' | 'rejected'> => {
    const { state, transport, latencyMs, rejected } = client;
    return { state, transport, latencyMs, rejected };
  };
  let newest: ConnectionValue = { ...read(), gaps: 0, lastGap: undefined, lastError: undefined, reconnects: 0 };
  let shown = newest;
  return {
    get: () => shown,
    subscribe(changed) {
      const pace = paced(
        () => {
          shown = newest = { ...newest, ...read() };
          changed();
          return false;
        },
        () => ({}),
      );
      const set = (part: Partial<ConnectionValue> = {}): void => {
        newest = { ...newest, ...part };
        pace.soon();
      };
      const ends = [
        client.on('state', ({ previous, state }) =>
          set(state === 'connecting' && previous !== 'closed' ? { reconnects: newest.reconnects + 1 } : {}),
        ),
        ...CHANGES.map((type) => client.on(type, () => set())),
        client.on('gap', (lastGap) => set({ gaps: newest.gaps + 1, lastGap })),
        client.on('error', (lastError) => set({ lastError })),
        pace.cancel,
      ];
      // What happened between the render and now.
      if (newest.state !== client.state) set();
      return () => {
        for (const end of ends) end();
      };
    },
  };
}
