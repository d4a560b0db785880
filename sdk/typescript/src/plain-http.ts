/** Whether plain HTTP works where a WebSocket does not open. */
import type { LineOptions } from './transport.js';

/** Asks the WebSocket endpoint without an upgrade. True when it is answered, and not by somebody who is busy or away. */
export async function answersHttp({ url, fetch }: Pick<LineOptions, 'url' | 'fetch'>, signal: AbortSignal): Promise<boolean> {
  const plain = new URL(url);
  plain.protocol = url.protocol.replace('ws', 'http');
  try {
    const response = await (fetch as typeof globalThis.fetch)(plain, { cache: 'no-store', signal });
    const { status } = response;
    // Read to its end, so that the connection is free for the next request.
    await response.arrayBuffer().catch(() => {});
    return status < 500 && status !== 429;
  } catch {
    return false;
  }
}
