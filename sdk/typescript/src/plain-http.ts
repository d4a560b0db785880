/** Whether plain HTTP works where a WebSocket does not open. */
import type { LineOptions } from './transport.js';
import { codeOf, identity, refusalOf } from './transport-http.js';

/** Asks the WebSocket endpoint without an upgrade. Returns the close code that means what is answered; 0 when that is by somebody
 * who is busy or away, and 404 when there is nothing at this path. */
export async function answersHttp(options: LineOptions, signal: AbortSignal): Promise<number> {
  const plain = new URL(options.url);
  plain.protocol = plain.protocol.replace('ws', 'http');
  try {
    const response = await (options.fetch as typeof fetch)(plain, { headers: identity(options), cache: 'no-store', signal });
    // Read to its end, so that the connection is free for the next request.
    const refusal = await refusalOf(response);
    if (refusal.status === 404) return 404;
    return refusal.status < 500 && refusal.status !== 429 ? codeOf(refusal) : 0;
  } catch {
    return 0;
  }
}
