/** What a tab has found out about the network of a gateway: it outlives a reload, not the tab. */

const key = (host: string): string => `wsgateway:${host}`;
const storage = (): Storage | undefined => (globalThis as { sessionStorage?: Storage }).sessionStorage;

/** What worked last for this gateway, where that was not WebSocket. */
export function recall(host: string): string | null | undefined {
  try {
    return storage()?.getItem(key(host));
  } catch {
    return undefined; // a page may be denied its storage
  }
}

/** This transport works for this gateway. */
export function remember(host: string, transport: string): void {
  try {
    if (transport === 'websocket') storage()?.removeItem(key(host));
    else storage()?.setItem(key(host), transport);
  } catch {}
}
