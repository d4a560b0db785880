/**
 * Messages as an async iterator: `for await (const message of iterate(client, '*.trade'))`.
 *
 * In: a client and channels. Out: its messages, in order. What must hold: what waits for the reader is bounded, and the subscription
 * ends with the loop.
 */
import type { Channels, Message, SubscribeOptions, WsGatewayClient } from './index.js';

export interface IterateOptions extends SubscribeOptions {
  /** Messages that may wait for the reader; when there are more, the loop throws. Default 1000. */
  limit?: number;
  /** Ends the loop. */
  signal?: AbortSignal;
}

/** The reader was too slow for what comes. */
export class ReaderTooSlow extends Error {
  override name = 'ReaderTooSlow';
}

export async function* iterate<C extends Channels, P extends keyof C & string, T = C[P]>(
  client: WsGatewayClient<C>,
  channels: P | readonly P[],
  { limit = 1000, signal, ...options }: IterateOptions = {},
): AsyncGenerator<Message<T>, void, undefined> {
  let waiting: Message<T>[] = [];
  let isOver = false;
  let wake = (): void => {};
  const end = (): void => {
    isOver = true;
    wake();
  };
  const receive = (message: Message<T>): void => {
    if (isOver) return;
    if (waiting.length < limit) waiting.push(message);
    else isOver = true;
    wake();
  };
  if (signal?.aborted) return;
  const subscription = client.subscribe<P, T>(channels, receive, options);
  signal?.addEventListener('abort', end);
  try {
    for (;;) {
      const batch = waiting;
      waiting = [];
      for (const message of batch) {
        if (signal?.aborted) return;
        yield message;
      }
      if (signal?.aborted) return;
      if (isOver && waiting.length === 0) throw new ReaderTooSlow(`more than ${limit} messages wait for their reader`);
      if (waiting.length === 0)
        await new Promise<void>((done) => {
          wake = done;
        });
    }
  } finally {
    signal?.removeEventListener('abort', end);
    subscription.unsubscribe();
  }
}
