/** What the lines over plain HTTP have in common. */
import type { LineOptions } from './transport.js';

/** Close code: our user or our token is banned. */
export const BANNED = 4013;

/** The URL of an HTTP endpoint next to the WebSocket endpoint: `wss://host/ws` has `https://host/sse`. */
export function siblingUrl({ url }: LineOptions, name: string, query: Record<string, string | undefined>): URL {
  const sibling = new URL(name, url);
  sibling.protocol = url.protocol.replace('ws', 'http');
  sibling.search = url.search;
  for (const [key, value] of Object.entries(query)) if (value !== undefined) sibling.searchParams.set(key, value);
  return sibling;
}

/** Headers that say who we are. */
export function identity({ token }: LineOptions): Record<string, string> {
  return token ? { authorization: `Bearer ${token}` } : {};
}

/** A refusal, read. */
export interface Refusal {
  status: number;
  code: string;
  message: string;
  /** What it asks us to wait (ms), by its body or its header. */
  advisedMs: number | undefined;
}

export async function refusalOf(response: Response): Promise<Refusal> {
  const { status, headers } = response;
  const body = Object(await response.json().catch(() => null)) as { code?: unknown; message?: unknown; retryAfterMs?: unknown };
  const advisedMs = Number(body.retryAfterMs ?? Number.parseFloat(headers.get('retry-after') ?? '') * 1000);
  return {
    status,
    code: String(body.code ?? status),
    message: String(body.message ?? `HTTP status ${status}`),
    advisedMs: Number.isFinite(advisedMs) ? advisedMs : undefined,
  };
}

/** The close code that means what this HTTP refusal means. */
export function codeOf({ status, code }: Pick<Refusal, 'status' | 'code'>): number {
  if (status === 401) return 4001;
  if (code === 'banned') return BANNED;
  if (status === 403) return 4003;
  return status === 429 || status === 503 ? 1013 : 1006;
}
