/** What the surroundings know about the network: a browser's events, or nothing (Node). */

export interface EnvironmentHooks {
  online(): void;
  offline(): void;
  /** The page can be seen again; it may have slept. */
  woke(): void;
}

/** Where events come from; `globalThis` in a browser. */
interface Surroundings {
  addEventListener?: (type: string, listener: () => void, options: { signal: AbortSignal }) => void;
  document?: EventTarget & { visibilityState?: string };
  navigator?: { onLine?: boolean };
}

export const isOffline = (global = globalThis as Surroundings): boolean => global.navigator?.onLine === false;

/** Listens until the returned function is called. */
export function watch(hooks: EnvironmentHooks, global = globalThis as Surroundings): () => void {
  const { document } = global;
  const ends = new AbortController();
  const seen = (): void => {
    if (document?.visibilityState === 'visible') hooks.woke();
  };
  global.addEventListener?.('online', hooks.online, ends);
  global.addEventListener?.('offline', hooks.offline, ends);
  global.addEventListener?.('pageshow', seen, ends);
  document?.addEventListener('visibilitychange', seen, ends);
  return () => ends.abort();
}
