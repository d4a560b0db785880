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
  /** A new token can be had, and the one before was not refused as well. */
  mayRefresh: boolean;
}

/** `atLeastMs`: what the server asks us to wait, whatever happens meanwhile. */
export type Verdict = { delayMs: null; state: 'closed' | 'refused' } | { delayMs: number; atLeastMs: number };

/** No server may put a client to sleep for longer (ms). */
const MAX_ADVICE = 120_000;
/** Sent too many commands: the bucket of the gateway fills in seconds. */
const TOO_MANY_COMMANDS_MS = 5_000;
/** The same thing would happen again: our commands are wrong or too big, or there is one connection too many. */
const FINAL = new Set([1003, 1007, 1009, 4010]);
const TOKEN = new Set([4001, 4003, 4004]);

/** Below what the delay of an attempt is drawn (ms). */
export function ceiling(attempt: number, { baseMs, capMs }: BackoffOptions): number {
  return Math.min(capMs, baseMs * 2 ** Math.min(attempt, 16));
}

export function afterEnd(end: End, options: BackoffOptions, random: number): Verdict {
  if (end.code === 1000) return { delayMs: null, state: 'closed' };
  if (FINAL.has(end.code) || (TOKEN.has(end.code) && !end.mayRefresh)) return { delayMs: null, state: 'refused' };
  const jittered = random * ceiling(end.attempt, options);
  if (end.code === 4009) return { delayMs: TOO_MANY_COMMANDS_MS + jittered, atLeastMs: TOO_MANY_COMMANDS_MS };
  const advised = Math.min(Math.max(end.advisedMs ?? 0, 0), MAX_ADVICE);
  // A gateway that stops spreads its clients by its advice. Other advice may be the same for all of them, and advice that
  // went wrong before is worth less.
  const spread = end.code !== 1012 || end.advisedMs === undefined || end.attempt >= 2;
  return { delayMs: advised + (spread ? jittered : 0), atLeastMs: advised };
}

export type LineVerdict = 'quiet' | 'ask' | 'dead';

/** Whether a line is to be asked for a sign of life, or given up. Times in ms of one clock. */
export function lineVerdict(now: number, heardAt: number, askedAt: number, intervalMs: number, timeoutMs: number): LineVerdict {
  if (askedAt > heardAt) return now - askedAt > timeoutMs ? 'dead' : 'quiet';
  return now - heardAt >= intervalMs ? 'ask' : 'quiet';
}
