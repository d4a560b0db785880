/** Whether plain HTTP works where a WebSocket does not open. */
import type { LineOptions } from './transport.js';
import { identity } from './transport-http.js';

/** Asks the WebSocket endpoint without an upgrade. Returns the status when it is answered, and not by somebody who is busy or
 * away; else 0. */
export async function answersHttp(options: LineOptions, signal: AbortSignal): Promise<number> {
  const plain = new URL(options.url);
  plain.protocol = plain.protocol.replace('ws', 'http');
  try {
    const response = await (options.fetch as typeof fetch)(plain, { headers: identity(options), cache: 'no-store', signal });
    const { status } = response;
    // Read to its end, so that the connection is free for the next request.
    await response.arrayBuffer().catch(() => {});
    return status < 500 && status !== 429 ? status : 0;
  } catch {
    return 0;
  }
}
