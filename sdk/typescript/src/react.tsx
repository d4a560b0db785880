/**
 * React: one client for a tree, hooks for channels and for the connection. Hooks read the client through
 * `useSyncExternalStore`, so concurrent rendering and StrictMode see one truth; a subscription lives as long as the
 * component that asked for it.
 */
import { createContext, type ReactNode, useContext, useEffect, useMemo, useRef, useSyncExternalStore } from 'react';
import { matches } from './channels.js';
import {
  type ClientOptions,
  type ConnectionState,
  createClient,
  type DeleteReason,
  type EventOf,
  type Message,
  type TransportKind,
  type WsGatewayClient,
} from './index.js';

const Context = createContext<WsGatewayClient | null>(null);

export type ProviderProps = { children?: ReactNode } & (
  | { /** A client that lives longer than this tree; the provider neither connects nor closes it. */ client: WsGatewayClient }
  /** Options of a client that lives as long as this tree. Only those of the first render count. */
  | ClientOptions
);

export function WsGatewayProvider({ children, ...rest }: ProviderProps): ReactNode {
  const given = 'client' in rest ? rest.client : null;
  const own = useRef<WsGatewayClient | null>(null);
  if (!given) own.current ??= createClient({ ...(rest as ClientOptions), lazy: true });
  const client = given ?? (own.current as WsGatewayClient);
  useEffect(() => {
    if (given) return;
    client.connect();
    return () => client.close();
  }, [client, given]);
  return <Context.Provider value={client}>{children}</Context.Provider>;
}

/** The client of the tree, for what the hooks do not do. */
export function useClient(): WsGatewayClient {
  const client = useContext(Context);
  if (!client) throw new Error('useClient, useChannel, useMessages and useConnection need a <WsGatewayProvider> around the component');
  return client;
}

export interface ChannelOptions {
  /** The last value at once, not only the next. Default true. */
  snapshot?: boolean;
}

export interface ChannelValue<T> {
  /** Payload of the latest message; undefined before the first, and after a deletion. */
  readonly data: T | undefined;
  /** Why there is no value any more; undefined while there is one, and before the first. */
  readonly deleted: DeleteReason | undefined;
  readonly message: Message<T> | undefined;
  /** Holes in this channel since the component was mounted; also those reported for a pattern that it belongs to. */
  readonly gaps: number;
  /** Why the gateway refused the channel, if it did. */
  readonly rejected: string | undefined;
}

const NOTHING: ChannelValue<never> = { data: undefined, deleted: undefined, message: undefined, gaps: 0, rejected: undefined };

/** The latest message of a channel, rendered anew with each. No channel (null): nothing, for conditions. */
export function useChannel<T = unknown>(channel: string | null, { snapshot = true }: ChannelOptions = {}): ChannelValue<T> {
  const client = useClient();
  const store = useMemo(() => channelStore<T>(client, channel, snapshot), [client, channel, snapshot]);
  return useSyncExternalStore(store.subscribe, store.get, () => NOTHING);
}

/** Every message of channels, in order; for lists and effects. The handler may change with each render. */
export function useMessages<T = unknown>(
  channels: string | readonly string[],
  handler: (message: Message<T>) => void,
  options: ChannelOptions = {},
): void {
  const client = useClient();
  const latest = useRef(handler);
  useEffect(() => {
    latest.current = handler;
  });
  const key = JSON.stringify(channels);
  const snapshot = options.snapshot ?? false;
  useEffect(() => {
    const subscription = client.subscribe<string, T>(JSON.parse(key), (message) => latest.current(message), { snapshot });
    return () => subscription.unsubscribe();
  }, [client, key, snapshot]);
}

export interface ConnectionValue {
  readonly state: ConnectionState;
  readonly transport: TransportKind;
  /** Round trip of the last ping (ms). */
  readonly latencyMs: number | null;
  /** Holes on all channels, and the last of them. */
  readonly gaps: number;
  readonly lastGap: EventOf<'gap'> | undefined;
  readonly reconnects: number;
}

/** How the connection is. */
export function useConnection(): ConnectionValue {
  const client = useClient();
  const store = useMemo(() => connectionStore(client), [client]);
  return useSyncExternalStore(store.subscribe, store.get, store.get);
}

interface Store<T> {
  subscribe(changed: () => void): () => void;
  get(): T;
}

function channelStore<T>(client: WsGatewayClient, channel: string | null, snapshot: boolean): Store<ChannelValue<T>> {
  let value: ChannelValue<T> = NOTHING;
  return {
    get: () => value,
    subscribe(changed) {
      if (channel === null) return () => {};
      const set = (part: Partial<ChannelValue<T>>): void => {
        value = { ...value, ...part };
        changed();
      };
      const receive = (message: Message<T>): void => set({ data: message.data, deleted: message.deleted, message, rejected: undefined });
      const subscription = client.subscribe<string, T>(channel, receive, { snapshot });
      const ends = [
        client.on('gap', (gap) => matches(gap.channel, channel) && set({ gaps: value.gaps + 1 })),
        client.on('rejected', ({ channel: refused, code }) => refused === channel && set({ rejected: code })),
        subscription.unsubscribe,
      ];
      return () => {
        for (const end of ends) end();
      };
    },
  };
}

function connectionStore(client: WsGatewayClient): Store<ConnectionValue> {
  const read = (): Pick<ConnectionValue, 'state' | 'transport' | 'latencyMs'> => {
    const { state, transport, latencyMs } = client;
    return { state, transport, latencyMs };
  };
  let value: ConnectionValue = { ...read(), gaps: 0, lastGap: undefined, reconnects: 0 };
  return {
    get: () => value,
    subscribe(changed) {
      const set = (part: Partial<ConnectionValue> = {}): void => {
        value = { ...value, ...read(), ...part };
        changed();
      };
      const ends = [
        client.on('state', ({ previous, state }) =>
          set(state === 'connecting' && previous !== 'closed' ? { reconnects: value.reconnects + 1 } : {}),
        ),
        client.on('pong', () => set()),
        client.on('gap', (lastGap) => set({ gaps: value.gaps + 1, lastGap })),
      ];
      // What happened between the render and now.
      if (value.state !== client.state) set();
      return () => {
        for (const end of ends) end();
      };
    },
  };
}
