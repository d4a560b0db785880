/**
 * TanStack Query: messages go into its cache, for the queries that are shown.
 *
 * In: a client and a QueryClient; queries say by `live()` which channels belong to them. Out: their data is kept current. What must hold:
 * a channel is subscribed to while its query has observers, a message is never undone by a request that began before it, and whatever may
 * have been missed is fetched again.
 */
import type { Query, QueryCacheNotifyEvent, QueryClient } from '@tanstack/query-core';
import { matches } from './channels.js';
import type { Message, Subscription, WsGatewayClient } from './index.js';

export interface LiveOptions<T = unknown, D = T> {
  /** The data after a message. Default: its payload, null after a deletion. Called again for messages that came during a request, with
   * what that brought; undefined changes nothing. */
  reduce?: (data: D | undefined, message: Message<T>) => D | null | undefined;
  /** The last value at once. Default true; false where the data is more than the last value of a channel. */
  snapshot?: boolean;
}

interface Live extends LiveOptions {
  channels: readonly string[];
}

/** Messages kept during a request; beyond that it is made again. */
const MAX_KEPT = 1000;

const META = 'wsgateway';
const liveOf = ({ meta }: Query): Live | undefined => meta?.[META] as Live | undefined;
const newest = (_: unknown, { data = null }: Message): unknown => data;

/** For the options of a query: `useQuery({ queryKey, queryFn, ...live('BTC.price') })`. Adds to a `meta` that is given. */
export function live<T = unknown, D = T>(
  channels: string | readonly string[],
  options: LiveOptions<T, D> = {},
  meta: Record<string, unknown> = {},
): { meta: Record<string, unknown> } {
  return { meta: { ...meta, [META]: { ...options, channels: typeof channels === 'string' ? [channels] : channels } } };
}

/** Keeps the queries that have `live()` current, until the returned function is called. */
export function syncQueries(client: WsGatewayClient, queries: QueryClient): () => void {
  const cache = queries.getQueryCache();
  const followed = new Map<Query, Follower>();

  const check = (query: Query): void => {
    const wanted = query.getObserversCount() > 0 ? liveOf(query) : undefined;
    const follower = followed.get(query);
    if (wanted && !follower) followed.set(query, new Follower(client, queries, query, wanted));
    if (wanted || !follower) return;
    follower.end();
    followed.delete(query);
  };
  const changed = (event: QueryCacheNotifyEvent): void => {
    if (event.type.startsWith('observer') || event.type === 'removed') check(event.query);
    if (event.type === 'updated' && event.action.type === 'success' && !event.action.manual) followed.get(event.query)?.fetched();
  };
  for (const query of cache.getAll()) check(query);
  const ends = [
    cache.subscribe(changed),
    client.on('gap', ({ channel, reason }) => {
      if (reason === 'slow_consumer') return; // the newest values come all the same
      for (const follower of followed.values()) if (follower.live.channels.some((own) => matches(own, channel))) follower.refetch();
    }),
  ];
  return () => {
    for (const end of ends) end();
    for (const follower of followed.values()) follower.end();
    followed.clear();
  };
}

/** One query that is shown. */
class Follower {
  /** Messages that a request under way may not know. */
  #kept: Message[] = [];
  #isLive = false;
  readonly #subscription: Subscription;

  constructor(
    client: WsGatewayClient,
    readonly queries: QueryClient,
    readonly query: Query,
    readonly live: Live,
  ) {
    const { channels, snapshot = true } = live;
    this.#subscription = client.subscribe(channels, (message) => this.#message(message), {
      snapshot,
      onState: ({ state }) => state === 'live' && this.#began(),
    });
  }

  end(): void {
    this.#subscription.unsubscribe();
  }

  /** Fetches what may be missing. */
  refetch(): void {
    void this.queries.invalidateQueries({ queryKey: this.query.queryKey, exact: true });
  }

  /** A request has brought what the server knew when it began, and nothing of what came since. */
  fetched(): void {
    const kept = this.#kept;
    this.#kept = [];
    if (kept.length > MAX_KEPT) return this.refetch();
    for (const message of kept) this.#apply(message);
  }

  /** From now on messages come: what was fetched before may lack some, unless last values come. */
  #began(): void {
    if (!this.#isLive && this.live.snapshot === false) this.refetch();
    this.#isLive = true;
  }

  #message(message: Message): void {
    if (this.query.state.fetchStatus === 'idle') this.#kept = [];
    else if (this.#kept.length <= MAX_KEPT) this.#kept.push(message);
    this.#apply(message);
  }

  #apply(message: Message): void {
    const { reduce = newest } = this.live;
    this.queries.setQueryData(this.query.queryKey, (data: unknown) => reduce(data, message));
  }
}
