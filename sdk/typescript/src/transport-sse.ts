/**
 * The SSE line: one response that does not end. It has no way back, so a change of channels opens it anew from the
 * cursor. Read with `fetch`: an EventSource would hide why it was refused.
 */
import { parseCursor } from './cursor-text.js';
import { SseParser } from './sse-parser.js';
import type { Line, LineHooks, LineOptions } from './transport.js';
import { codeOf, refusalOf, siblingUrl } from './transport-http.js';
import { pollSnapshot, Wanted } from './transport-poll.js';

export function openSse(options: LineOptions, hooks: LineHooks): Line {
  const wanted = new Wanted(options);
  let request = new AbortController();
  let closed = false;
  let epoch: string | undefined;
  let scheduled = false;

  function end(code: number, reason: string, advisedMs?: number): void {
    if (closed) return;
    closed = true;
    request.abort();
    hooks.end(code, reason, advisedMs);
  }

  async function run(signal: AbortSignal): Promise<void> {
    const response = await (options.fetch as typeof fetch)(siblingUrl(options, 'sse', wanted.query()), {
      headers: { accept: 'text/event-stream' },
      cache: 'no-store',
      signal,
    });
    if (response.ok && response.body) {
      wanted.answered();
      return read(response.body.getReader(), signal);
    }
    const refusal = await refusalOf(response);
    if (signal.aborted) return;
    if (wanted.refused(refusal, hooks)) return reopen();
    end(codeOf(refusal.status), refusal.message, refusal.advisedMs);
  }

  async function read(reader: ReadableStreamDefaultReader<Uint8Array>, signal: AbortSignal): Promise<void> {
    const decoder = new TextDecoder();
    const parser = new SseParser();
    for (;;) {
      const { done, value } = await reader.read();
      if (signal.aborted) return;
      if (done) return end(1006, 'the event stream ended');
      hooks.heard();
      for (const { id, data } of parser.take(decoder.decode(value, { stream: true }))) {
        if (signal.aborted) return;
        greet(parseCursor(id)?.epoch);
        hooks.push(JSON.parse(data));
      }
    }
  }

  /** The first id tells the epoch, which a WebSocket learns from the greeting. */
  function greet(told: string | undefined): void {
    if (told === undefined || told === epoch) return;
    epoch = told;
    hooks.push({ type: 'connection:established', epoch });
  }

  function reopen(): void {
    if (scheduled) return;
    scheduled = true;
    queueMicrotask(() => {
      scheduled = false;
      if (closed) return;
      request.abort();
      request = new AbortController();
      const { signal } = request;
      if (wanted.channels.size > 0) run(signal).catch((error) => signal.aborted || end(1006, String(error)));
    });
  }

  return {
    send(command) {
      const added = wanted.apply(command);
      if (added) pollSnapshot(options, hooks, added);
      if (command.type === 'subscribe' || command.type === 'unsubscribe') reopen();
    },
    close() {
      closed = true;
      request.abort();
    },
  };
}
