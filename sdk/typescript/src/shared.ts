/**
 * One connection for all tabs of an origin, with the same API as a client of its own.
 *
 * In: the options of a client, and whose it is. Out: a client. What must hold: tabs of one user share, of two users never; what a tab
 * does, or its end, costs the others nothing.
 */
import { type Channels, WsGatewayClient } from './client.js';
import { hubOptions, SharedLink } from './shared/link.js';
import { canShare, meet } from './shared/places.js';
import { WIRE } from './shared/wire.js';
import type { ClientOptions } from './types.js';

export interface SharedOptions extends Omit<ClientOptions, 'WebSocket' | 'fetch'> {
  /** Whose connection it is, such as the user's id: tabs with the same one share. Needed where there is a `token`. */
  user?: string;
  /** Starts the worker of this name, where a bundler does not find it by itself. False: in one of the tabs. */
  worker?: ((name: string) => SharedWorker) | false;
}

const ownWorker = (name: string): SharedWorker =>
  new SharedWorker(new URL('./shared-worker.js', import.meta.url), { type: 'module', name });

/** A client that shares its connection with the other tabs of its origin. Where tabs cannot share, it has its own. */
export function createSharedClient<C extends Channels = Channels>(options: SharedOptions): WsGatewayClient<C> {
  const { user, worker = ownWorker, ...rest } = options;
  if (rest.token !== undefined && user === undefined)
    throw new Error('createSharedClient needs user: tabs of one user share a connection, and no others');
  if (!canShare()) return new WsGatewayClient<C>(rest);
  // A user's name may hold anything; two of them never make one key. A URL that is none is reported by the connection.
  const key = (): string => `wsgateway:${WIRE}:${JSON.stringify([user ?? null, hubOptions(rest).urls])}`;
  return new WsGatewayClient<C>(rest, {
    link: (events, hooks, session) => new SharedLink(rest, meet(key, worker || undefined), events, hooks, session),
  });
}
