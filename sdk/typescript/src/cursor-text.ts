/** The cursor as SSE and long-poll write it. */
import type { Cursor } from './types.js';

/** `EPOCH:OFFSET`, as SSE and long-poll write it. */
export const formatCursor = ({ epoch, offset }: Cursor): string => `${epoch}:${offset}`;

/** The cursor in `EPOCH:OFFSET`, or null when it is none. */
export function parseCursor(text: unknown): Cursor | null {
  const match = typeof text === 'string' ? /^(.+):(\d{1,16})$/.exec(text) : null;
  return match ? { epoch: match[1] as string, offset: Number(match[2]) } : null;
}
