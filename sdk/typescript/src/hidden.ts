/**
 * Pages that nobody looks at hold no connection: it is closed a while after the page was hidden, and resumes from its cursor when
 * the page is seen again.
 */
import type { WsGatewayClient } from './index.js';

export interface HiddenOptions {
  /** How long a page may be hidden before its connection is closed. Default 60000. */
  afterMs?: number;
}

/** Closes and connects a client as its page is hidden and seen, until the returned function is called. Does nothing where there is no
 * page, and does not connect a client that somebody else has closed. */
export function pauseWhileHidden(client: WsGatewayClient, { afterMs = 60_000 }: HiddenOptions = {}): () => void {
  const { document } = globalThis as { document?: Document };
  if (!document) return () => {};
  let timer: ReturnType<typeof setTimeout> | undefined;
  let isPaused = false;
  const changed = (): void => {
    clearTimeout(timer);
    if (document.visibilityState === 'hidden') {
      timer = setTimeout(() => {
        isPaused = client.state !== 'closed' && client.state !== 'refused';
        if (isPaused) client.close();
      }, afterMs);
    } else if (isPaused) {
      isPaused = false;
      if (client.state === 'closed') client.connect();
    }
  };
  document.addEventListener('visibilitychange', changed);
  changed();
  return () => {
    clearTimeout(timer);
    document.removeEventListener('visibilitychange', changed);
  };
}
