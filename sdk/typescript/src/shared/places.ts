/** Where a hub is: in a shared worker, or in the tab that holds its lock. */
import { Hub, type HubHooks } from './hub.js';
import type { Meeting } from './link.js';
import { hubLock, type Port, type ToHub, type ToTab, tabLock, workerLock } from './wire.js';

/** A worker whose script has not answered by then is given up (ms). */
const WORKER_MS = 10_000;

type Hooks = Parameters<Meeting['begin']>[0];

/** Whether tabs can share at all: locks are of secure contexts, and say which tab is there. Node has both, and no tabs. */
export const canShare = (): boolean =>
  typeof BroadcastChannel === 'function' && globalThis.navigator?.locks !== undefined && 'location' in globalThis;

/** What a hub knows of tabs: their locks. */
export function tabHooks(key: string): HubHooks {
  const { locks } = navigator;
  const prefix = tabLock(key, '');
  return {
    async tabs() {
      const { held = [] } = await locks.query();
      return held.flatMap(({ name = '' }) => (name.startsWith(prefix) ? [name.slice(prefix.length)] : []));
    },
    gone(tab, signal, then) {
      locks.request(tabLock(key, tab), { signal }, then).catch(() => {});
    },
  };
}

/** Holds a lock until the returned function is called. */
function hold(name: string, options: LockOptions, held: () => void, lost: () => void = () => {}): () => void {
  const ends = new AbortController();
  const { signal } = ends;
  const until = new Promise<void>((done) => signal.addEventListener('abort', () => done()));
  navigator.locks
    // A lock that is stolen is never waited for.
    .request(name, options.steal ? options : { ...options, signal }, () => {
      if (signal.aborted) return;
      held();
      return until;
    })
    .catch(() => signal.aborted || lost());
  return () => ends.abort();
}

/** In a worker if there is one and its script can be loaded, else in one of the tabs. */
export function meet(keyOf: () => string, worker: ((name: string) => SharedWorker) | undefined): Meeting {
  let key: string;
  let tab: string;
  let release = (): void => {};
  let place: { lost(): void; end(): void } | undefined;
  let hooks: Hooks;
  let isHeard = false;

  const inTab = (): void => {
    place?.end();
    place = amongTabs(key, tab, hooks);
  };
  const inWorker = (): void => {
    place?.end();
    const found = worker && tryWorker(worker, key);
    if (!found) return inTab();
    const { port } = found;
    isHeard = false;
    const timer = setTimeout(() => isHeard || inTab(), WORKER_MS);
    let watch = (): void => {};
    const post = (data: ToHub): void => port.postMessage({ tab, data });
    const end = (): void => {
      clearTimeout(timer);
      watch();
      port.onmessage = null;
      post({ type: 'bye' });
      port.close();
    };
    found.addEventListener('error', () => isHeard || inTab());
    port.onmessage = ({ data }) => {
      // Its process may be that of a tab that crashes, and nothing but its lock says so.
      if (!isHeard) watch = hold(workerLock(key), { mode: 'shared' }, inWorker);
      isHeard = true;
      hooks.data(data as ToTab);
    };
    place = { lost: inWorker, end };
    hooks.found({ post, close: end });
  };
  return {
    begin(given) {
      hooks = given;
      key = keyOf();
      tab = crypto.randomUUID();
      // First of all its own lock: it tells the hub when this tab is gone.
      release = hold(tabLock(key, tab), {}, inWorker);
    },
    lost: () => place?.lost(),
    end() {
      place?.end();
      place = undefined;
      release();
    },
  };
}

function tryWorker(worker: (name: string) => SharedWorker, key: string): SharedWorker | undefined {
  try {
    return typeof SharedWorker === 'function' ? worker(key) : undefined;
  } catch {
    return undefined; // a page may not start one: another origin, or its policy
  }
}

/** Ways between tabs: each tab has a channel of its own to the hub, and all have one on which they find each other. */
type Notice = { type: 'tab'; tab: string } | { type: 'hub' };
type ToHubFrom = { hub: string; data: ToHub };
type ToTabFrom = { hub: string; data?: ToTab };

function amongTabs(key: string, tab: string, hooks: Hooks): { lost(): void; end(): void } {
  const all = new BroadcastChannel(key);
  const own = new BroadcastChannel(`${key}:${tab}`);
  let current: string | undefined;
  let stop = (): void => {};
  const here = (): void => all.postMessage({ type: 'tab', tab } satisfies Notice);

  own.onmessage = ({ data: { hub, data } }: MessageEvent<ToTabFrom>) => {
    if (data) {
      if (hub === current) hooks.data(data);
    } else if (hub !== current) {
      current = hub;
      hooks.found({ post: (sent) => own.postMessage({ hub, data: sent } satisfies ToHubFrom), close() {} });
    }
  };
  all.onmessage = ({ data }: MessageEvent<Notice>) => {
    if (data.type === 'hub') here();
  };
  const candidate = (steal: boolean): void => {
    stop();
    let hub: (() => void) | undefined;
    const end = (): void => {
      hub?.();
      hub = undefined;
    };
    const led = (): void => {
      hub = leads(key);
    };
    // Stolen, because this tab was frozen: it is a follower again.
    const release = hold(hubLock(key), steal ? { steal } : {}, led, () => candidate(false));
    stop = () => {
      end();
      release();
    };
  };
  candidate(false);
  here();
  return {
    lost() {
      current = undefined;
      candidate(true);
    },
    end() {
      stop();
      all.close();
      own.close();
    },
  };
}

/** The hub is in this tab, until the returned function is called. */
function leads(key: string): () => void {
  const id = crypto.randomUUID();
  const all = new BroadcastChannel(key);
  const hub = new Hub(tabHooks(key));
  const ways = new Map<string, BroadcastChannel>();
  all.onmessage = ({ data }: MessageEvent<Notice>) => {
    if (data.type !== 'tab' || ways.has(data.tab)) return;
    const { tab } = data;
    const way = new BroadcastChannel(`${key}:${tab}`);
    ways.set(tab, way);
    const port: Port<ToTab> = {
      post: (sent) => way.postMessage({ hub: id, data: sent } satisfies ToTabFrom),
      close() {
        ways.delete(tab);
        way.close();
      },
    };
    const receive = hub.join(tab, port);
    way.onmessage = ({ data: sent }: MessageEvent<ToHubFrom>) => sent.hub === id && receive(sent.data);
    way.postMessage({ hub: id } satisfies ToTabFrom);
  };
  all.postMessage({ type: 'hub' } satisfies Notice);
  return () => {
    all.close();
    hub.stop();
  };
}

/** The hub is in this worker. */
export function serveWorker(key: string, port: MessagePort): void {
  if (!hub) hold(workerLock(key), {}, () => {});
  hub ??= new Hub(tabHooks(key));
  const shared = hub;
  let receive: ((data: ToHub) => void) | undefined;
  port.onmessage = ({ data: { tab, data } }: MessageEvent<{ tab: string; data: ToHub }>) => {
    receive ??= shared.join(tab, { post: (sent) => port.postMessage(sent), close: () => port.close() });
    receive(data);
  };
}
let hub: Hub | undefined;
