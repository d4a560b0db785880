/**
 * What a transport is: a line on which commands go out and pushes of `wsgateway.v1` come in. The session above does
 * not know which one it has; one-way lines (SSE, long-poll) translate.
 */
import type { Cursor, TransportKind, WebSocketConstructor } from './types.js';

export interface SubscribeCommand {
  type: 'subscribe';
  id: number;
  channels: string[];
  resume?: Cursor;
  snapshot?: true;
  batch?: boolean;
}

export type Command =
  | SubscribeCommand
  | { type: 'unsubscribe'; channels: string[] }
  | { type: 'ping'; timestamp: number }
  | { type: 'auth'; token: string };

/** One line, from its opening to its end. A line that has ended is never used again. */
export interface Line {
  send(command: Command): void;
  /** Ends it when it has been silent for longer than it may be. Only lines that cannot be asked have it. */
  check?(): void;
  /** Ends it from our side; no hook is called afterwards. */
  close(): void;
}

export interface LineHooks {
  /** One push, parsed; nothing in it is checked. */
  push(push: unknown): void;
  /** The line has ended or could not be opened. Called once at most. */
  end(code: number, reason: string, advisedMs?: number): void;
}

export interface LineOptions {
  /** The WebSocket endpoint, without the token. */
  url: URL;
  /** A line that sends it with each request takes another one by the command `auth`. */
  token: string | undefined;
  protocols: string | string[];
  WebSocket: WebSocketConstructor | undefined;
  fetch: typeof fetch | undefined;
  /** Where a one-way line resumes when the set of channels changes. */
  cursor(): Cursor | null;
  /** What a heartbeat may be late (ms). */
  marginMs: number;
}

export type OpenLine = (options: LineOptions, hooks: LineHooks) => Line | Promise<Line>;
export type Openers = Record<TransportKind, OpenLine>;
