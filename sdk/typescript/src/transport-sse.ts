/**
 * The SSE line: one response that does not end. It has no way back, so a change of channels opens it anew from the
 * cursor. Read with `fetch`: an EventSource would hide why it was refused.
 */
import { parseCursor } from './cursor-text.js';
import type { Push } from './push.js';
import { type ServerEvent, SseParser } from './sse-parser.js';
import type { Line, LineHooks, LineOptions } from './transport.js';
import { identity, refusalOf, siblingUrl } from './transport-http.js';
import { Wanted } from './transport-poll.js';

/** The longest silence of a gateway, until the greeting says another (ms). */
const HEARTBEAT_MS = 25_000;

export function openSse(options: LineOptions, hooks: LineHooks): Line {
  const wanted = new Wanted(options);
  let request = new AbortController();
  let closed = false;
  let scheduled = false;
  let heartbeatMs = HEARTBEAT_MS;
  let heardAt = 0;

  function stop(): void {
    closed = true;
    request.abort();
  }

  function end(code: number, reason: string, advisedMs?: number): void {
    if (closed) return;
    stop();
    hooks.end(code, reason, advisedMs);
  }

  async function run(signal: AbortSignal): Promise<void> {
    heardAt = Date.now();
    const from = wanted.from();
    const values = await wanted.lastValues(from, signal);
    const response = await (options.fetch as typeof fetch)(siblingUrl(options, 'sse', wanted.query(from)), {
      headers: { accept: 'text/event-stream', ...identity(options) },
      cache: 'no-store',
      signal,
    });
    if (!response.ok || !response.body) throw await refusalOf(response);
    await read(response.body.getReader(), signal, values);
    // One that was replaced while it was read is not the end of the line.
    if (!signal.aborted) end(1006, 'the event stream ended');
  }

  async function read(reader: ReadableStreamDefaultReader<Uint8Array>, signal: AbortSignal, values: unknown[]): Promise<void> {
    const decoder = new TextDecoder();
    const parser = new SseParser();
    for (;;) {
      const { done, value } = await reader.read();
      if (done || signal.aborted) return;
      heardAt = Date.now();
      for (const event of parser.take(decoder.decode(value, { stream: true }))) {
        if (signal.aborted) return;
        take(event, values);
      }
    }
  }

  function take({ event, id, data }: ServerEvent, values: unknown[]): void {
    // Only an id: nothing of ours lies between the last message and this cursor. No command of ours is number 0.
    if (data === undefined) return hooks.push({ type: 'subscription_ack', id: 0, offset: parseCursor(id)?.offset });
    const push = Object(JSON.parse(data)) as Push;
    if (event === 'close')
      return end(Number(push.code) || 1006, String(push.message ?? push.reason), push.retryAfterMs as number | undefined);
    if (typeof push.heartbeatMs === 'number') heartbeatMs = push.heartbeatMs;
    if (push.type === 'subscription_ack') {
      wanted.answered(push.rejected);
      hooks.push(push);
      for (const one of values) hooks.push(one);
    } else hooks.push(push);
  }

  function fail(error: unknown, signal: AbortSignal): void {
    if (signal.aborted) return;
    if (wanted.refused(error, hooks)) return reopen();
    end(...wanted.endOf(error));
  }

  function reopen(): void {
    // At once: what the old response still brings answers for the channels of before.
    request.abort();
    if (scheduled) return;
    scheduled = true;
    queueMicrotask(() => {
      scheduled = false;
      if (closed) return;
      request = new AbortController();
      const { signal } = request;
      if (wanted.channels.size > 0) run(signal).catch((error) => fail(error, signal));
    });
  }

  return {
    send: (command) => void ((wanted.apply(command) || command.type === 'auth') && reopen()),
    check() {
      if (wanted.channels.size > 0 && Date.now() - heardAt > heartbeatMs + options.marginMs) end(1006, 'the event stream fell silent');
    },
    close: stop,
  };
}
