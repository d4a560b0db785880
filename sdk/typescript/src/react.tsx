/**
 * React: one client for a tree, hooks for channels and for the connection. Hooks read the client through
 * `useSyncExternalStore`, so concurrent rendering and StrictMode see one truth; a subscription lives as long as the
 * component that asked for it.
 */
import { createContext, type ReactNode, useContext, useEffect, useMemo, useRef, useState, useSyncExternalStore } from 'react';
import { type Channels, type ClientOptions, createClient, type Message, type WsGatewayClient } from './index.js';
import { type ChannelOptions, type ChannelValue, type ConnectionValue, channelStore, connectionStore, NOTHING } from './react-stores.js';

export type { ChannelOptions, ChannelValue, ConnectionValue } from './react-stores.js';

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
    try {
      client.connect();
    } catch {} // an `error` event, and the state `refused`: no reason to take the page down
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

/** The latest message of a channel. No channel (null): nothing, for conditions. `select` may change with each render. */
export function useChannel<T = unknown, S = T>(channel: string | null, options: ChannelOptions<T, S> = {}): ChannelValue<S, T> {
  const client = useClient();
  const latest = useRef(options);
  useEffect(() => {
    latest.current = options;
  });
  const { snapshot = true, select } = options;
  const store = useMemo(() => channelStore<T, S>(client, channel, snapshot, () => latest.current), [client, channel, snapshot]);
  const value = useSyncExternalStore(store.subscribe, store.get, () => NOTHING);
  if (!select || value.data === undefined) return value as unknown as ChannelValue<S, T>;
  return { ...value, data: select(value.data) } as ChannelValue<S, T>;
}

/** Every message of channels, in order; for lists and effects. The handler may change with each render. */
export function useMessages<T = unknown>(
  channels: string | readonly string[],
  handler: (message: Message<T>) => void,
  options: { snapshot?: boolean } = {},
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

/** How the connection is. */
export function useConnection(): ConnectionValue {
  const client = useClient();
  const store = useMemo(() => connectionStore(client), [client]);
  return useSyncExternalStore(store.subscribe, store.get, store.get);
}

/** True once the connection has not been live for so long (ms), and until it is live again: whether to poll meanwhile. */
export function useOutage(afterMs = 5_000): boolean {
  const client = useClient();
  const store = useMemo(
    () => ({ subscribe: (changed: () => void) => client.on('state', changed), isLive: () => client.state === 'live' }),
    [client],
  );
  const isLive = useSyncExternalStore(store.subscribe, store.isLive, () => true);
  const [isLong, setLong] = useState(false);
  useEffect(() => {
    if (isLive) return setLong(false);
    const timer = setTimeout(setLong, afterMs, true);
    return () => clearTimeout(timer);
  }, [isLive, afterMs]);
  return isLong && !isLive;
}

/** Hooks whose payloads have types by channel, as `createClient<C>` has them. */
export interface Hooks<C extends Channels> {
  useClient(): WsGatewayClient<C>;
  useChannel<P extends keyof C & string, S = C[P]>(channel: P | null, options?: ChannelOptions<C[P], S>): ChannelValue<S, C[P]>;
  useMessages<P extends keyof C & string>(
    channels: P | readonly P[],
    handler: (message: Message<C[P]>) => void,
    options?: { snapshot?: boolean },
  ): void;
}

export function createHooks<C extends Channels>(): Hooks<C> {
  return { useClient, useChannel, useMessages } as unknown as Hooks<C>;
}
