/**
 * One request for a token for all tabs of an origin.
 *
 * In: the function that fetches a token. Out: one that asks the other tabs first, a tab at a time. What must hold: no token is
 * stored anywhere but in the memory of pages, no page gets a token a second time, and no page waits for another for long.
 */

export interface SharedTokenOptions {
  /** Tabs with the same name share: give another one for another user or another kind of token. Default empty. */
  name?: string;
  /** A token that another tab fetched longer ago is not taken over. Default 60000. */
  maxAgeMs?: number;
  /** Longest wait for other tabs that fetch; then this one fetches for itself. Default 5000, within the client's connectTimeoutMs. */
  waitMs?: number;
}

interface Held {
  token: string;
  /** When it was fetched. */
  at: number;
}

/** Other tabs of the same machine answer within a few milliseconds; those that are frozen do not. */
const ANSWER_MS = 100;

/** A channel of Node would keep its process alive. */
type Channel = BroadcastChannel & { unref?: () => void };

const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null;

export function sharedToken(fetchToken: () => string | Promise<string>, options: SharedTokenOptions = {}): () => Promise<string> {
  const { name = '', maxAgeMs = 60_000, waitMs = 5_000 } = options;
  const key = `wsgateway-token:${name}`;
  // Both are of secure contexts and of browsers; without them each page fetches for itself.
  const locks = typeof BroadcastChannel === 'function' ? globalThis.navigator?.locks : undefined;
  const channel: Channel | undefined = locks && new BroadcastChannel(key);
  channel?.unref?.();
  let held: Held | undefined;
  let pending: Promise<string> | undefined;

  channel?.addEventListener('message', ({ data }) => {
    if (!held || !isRecord(data) || data.type !== 'ask' || typeof data.after !== 'number') return;
    if (held.at > data.after && Date.now() - held.at < maxAgeMs) channel.postMessage({ type: 'held', for: data.from, ...held });
  });

  /** A token of another tab that is newer than ours. */
  const ask = (): Promise<Held | undefined> =>
    new Promise((resolve) => {
      const from = Math.random();
      const answered = ({ data }: MessageEvent): void => {
        if (!isRecord(data) || data.type !== 'held' || data.for !== from) return;
        if (typeof data.token === 'string' && typeof data.at === 'number') done({ token: data.token, at: data.at });
      };
      const done = (found?: Held): void => {
        clearTimeout(timer);
        channel?.removeEventListener('message', answered);
        resolve(found);
      };
      const timer = setTimeout(done, ANSWER_MS);
      channel?.addEventListener('message', answered);
      channel?.postMessage({ type: 'ask', from, after: held?.at ?? 0 });
    });

  const fetched = async (): Promise<string> => {
    const token = await fetchToken();
    held = { token, at: Date.now() };
    return token;
  };

  const inTurn = async (): Promise<string> => {
    if (!locks) return fetched();
    const wait = new AbortController();
    const timer = setTimeout(() => wait.abort(), waitMs);
    let isOurTurn = false;
    try {
      return await locks.request(key, { signal: wait.signal }, async () => {
        isOurTurn = true;
        clearTimeout(timer);
        const found = await ask();
        held = found ?? held;
        return found ? found.token : await fetched();
      });
    } catch (error) {
      // A tab whose request hangs must not hold up the others, nor may a browser that refuses locks.
      if (isOurTurn) throw error;
      return fetched();
    } finally {
      clearTimeout(timer);
    }
  };

  return () => {
    pending ??= inTurn().finally(() => {
      pending = undefined;
    });
    return pending;
  };
}
