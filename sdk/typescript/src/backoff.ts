/**
 * When to try again after a connection has ended, and whether at all. Pure: time and chance come in as numbers.
 */
import type { BackoffOptions } from './types.js';

/** A connection's end. `code` is a WebSocket close code; HTTP refusals come as the code that means the same. */
export interface End {
  code: number;
  /** Connections in a row that were not useful, this one included. */
  attempt: number;
  /** What the server asked for: `reconnect.afterMs` or Retry-After. */
  advisedMs: number | undefined;
  /** Tokens that were refused in a row, this one included; infinite when there is no other to be had. */
  refusals: number;
}

/** `atLeastMs`: what the server asks us to wait, whatever happens meanwhile. */
export type Verdict =
  | { delayMs: null; state: 'closed' | 'refused' }
  | { delayMs: number; atLeastMs: number; state: 'reconnecting' | 'unauthorized' };

/** No server may put a client to sleep for longer (ms). */
const MAX_ADVICE = 120_000;
/** Sent too many commands: the bucket of the gateway fills in seconds. */
const TOO_MANY_COMMANDS_MS = 5_000;
/** A fresh token was refused, too: time for whoever issues them, and whoever verifies them, to agree. */
const UNAUTHORIZED_MS = 5_000;
/** The same thing would happen again: our commands are wrong or too big, there is one connection too many, or we are banned. */
const FINAL = new Set([1003, 1007, 1009, 4010, 4013]);
/** The token is missing, bad, not enough, or expired. */
export const TOKEN = new Set([4001, 4003, 4004]);

/** Below what the delay of an attempt is drawn (ms). */
export function ceiling(attempt: number, { baseMs, capMs }: BackoffOptions): number {
  return Math.min(capMs, baseMs * 2 ** Math.min(attempt, 16));
}

export function afterEnd(end: End, options: BackoffOptions, random: number): Verdict {
  if (end.code === 1000) return { delayMs: null, state: 'closed' };
  const { code, attempt, refusals } = end;
  const token = TOKEN.has(code);
  if (FINAL.has(code) || (token && refusals === Number.POSITIVE_INFINITY)) return { delayMs: null, state: 'refused' };
  const state = token && refusals > 1 ? 'unauthorized' : 'reconnecting';
  // A fresh token is worth an attempt at once.
  const jittered = random * ceiling(token && refusals < 2 ? 0 : attempt, options);
  if (state === 'unauthorized') return { delayMs: UNAUTHORIZED_MS + jittered, atLeastMs: 0, state };
  if (code === 4009) return { delayMs: TOO_MANY_COMMANDS_MS + jittered, atLeastMs: TOO_MANY_COMMANDS_MS, state };
  const advised = Math.min(Math.max(end.advisedMs ?? 0, 0), MAX_ADVICE);
  // A gateway that stops spreads its clients by its advice. Other advice may be the same for all of them, and advice that
  // went wrong before is worth less.
  const spread = code !== 1012 || end.advisedMs === undefined || attempt >= 2;
  return { delayMs: advised + (spread ? jittered : 0), atLeastMs: advised, state };
}

export type LineVerdict = 'quiet' | 'ask' | 'dead';

/** Whether a line is to be asked for a sign of life, or given up. Times in ms of one clock. */
export function lineVerdict(now: number, heardAt: number, askedAt: number, intervalMs: number, timeoutMs: number): LineVerdict {
  if (askedAt > heardAt) return now - askedAt > timeoutMs ? 'dead' : 'quiet';
  return now - heardAt >= intervalMs ? 'ask' : 'quiet';
}
