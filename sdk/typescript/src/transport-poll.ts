/**
 * The long-poll line: one request after another, each from the cursor that the answer before it gave. What a
 * WebSocket would push is made of the answers. Also: what the lines without a way back have in common.
 */
import { formatCursor, parseCursor } from './cursor-text.js';
import type { Command, Line, LineHooks, LineOptions, SubscribeCommand } from './transport.js';
import { codeOf, type Refusal, refusalOf, siblingUrl } from './transport-http.js';
import type { Cursor } from './types.js';

/** Seconds that the gateway may keep a request; idle proxies cut at 30 or 60. */
const WAIT = 25;
/** On top of that, for the way (ms). */
const PATIENCE_MS = 15_000;

/** The channels of a line without a way back, and where it goes on. */
export class Wanted {
  readonly channels = new Set<string>();
  #snapshot = false;
  #resume: Cursor | null = null;
  /** The last subscribe, while nothing is known of it. */
  #asked: SubscribeCommand | null = null;

  constructor(readonly options: LineOptions) {}

  /** Takes a command in. Returns the channels whose last values have to be asked for by themselves: the others of the
   * line go on from a cursor, and with one there is no snapshot. */
  apply(command: Command): string[] | null {
    if (command.type === 'unsubscribe') for (const channel of command.channels) this.channels.delete(channel);
    if (command.type !== 'subscribe') return null;
    const joins = this.channels.size > 0 && !command.resume && command.snapshot;
    for (const channel of command.channels) this.channels.add(channel);
    this.#snapshot ||= command.snapshot === true;
    this.#resume = command.resume ?? null;
    this.#asked = command;
    return joins ? command.channels : null;
  }

  /** The gateway has answered for all channels. */
  answered(): void {
    this.#asked = null;
  }

  /** The gateway refuses the request as it is. When that can be for the channels that were asked for last, they are
   * given up, their command is answered, and the others can be tried; else false. */
  refused({ status, code, message }: Partial<Refusal>, hooks: LineHooks): boolean {
    const asked = this.#asked;
    if (status !== 400 || !asked) return false;
    this.#asked = null;
    this.#resume = asked.resume ?? null;
    for (const channel of asked.channels) this.channels.delete(channel);
    hooks.push({ type: 'error', id: asked.id, code, message });
    return true;
  }

  /** The cursor to go on from: what the last command said, later what has been delivered. */
  from(): Cursor | null {
    const from = this.#resume ?? this.options.cursor();
    this.#resume = null;
    return from;
  }

  query(from = this.from()): Record<string, string | undefined> {
    return {
      channels: [...this.channels].join(','),
      cursor: from ? formatCursor(from) : undefined,
      snapshot: this.#snapshot ? 'true' : undefined,
    };
  }
}

interface Answer {
  cursor?: unknown;
  recovered?: boolean;
  messages?: unknown[];
  gaps?: { to?: unknown }[];
}

/** One request. What is refused is thrown as a `Refusal`. */
async function poll(options: LineOptions, query: Record<string, string | undefined>, signal: AbortSignal): Promise<Answer> {
  const response = await (options.fetch as typeof fetch)(siblingUrl(options, 'poll', query), { cache: 'no-store', signal });
  if (!response.ok) throw await refusalOf(response);
  return (await response.json()) as Answer;
}

/** Asks once for the last values of channels, and pushes them. What fails here is caught up by the next message. */
export function pollSnapshot(options: LineOptions, hooks: LineHooks, channels: string[]): void {
  poll(options, { channels: channels.join(','), snapshot: 'true' }, AbortSignal.timeout(PATIENCE_MS)).then(
    ({ messages }) => messages?.forEach((message) => void hooks.push(message)),
    () => {},
  );
}

export function openPoll(options: LineOptions, hooks: LineHooks): Line {
  const wanted = new Wanted(options);
  let request = new AbortController();
  let closed = false;
  let scheduled = false;
  let epoch: string | undefined;

  async function loop(signal: AbortSignal): Promise<void> {
    let from = wanted.from();
    for (let first = true; !signal.aborted; first = false) {
      const deadline = setTimeout(() => request.abort('late'), WAIT * 1000 + PATIENCE_MS);
      const query = { ...wanted.query(from), wait: String(first ? 0 : WAIT) };
      const answer = await poll(options, query, signal).finally(() => clearTimeout(deadline));
      if (signal.aborted) return;
      from = take(answer, first, from);
    }
  }

  /** Pushes what an answer holds, in the order in which a WebSocket would have. Returns its cursor. */
  function take({ cursor, recovered, messages = [], gaps = [] }: Answer, first: boolean, from: Cursor | null): Cursor {
    const to = parseCursor(cursor);
    wanted.answered();
    if (!to) throw new Error('the answer of the long-poll has no cursor');
    if (to.epoch !== epoch) {
      epoch = to.epoch;
      hooks.push({ type: 'connection:established', epoch });
    }
    const rest = Math.max(...gaps.map((gap) => Number(gap.to) || 0), 0) || to.offset;
    const offset = recovered === true && from ? from.offset : rest;
    if (first || recovered === false)
      hooks.push({ type: 'subscription_ack', subscribed: [...wanted.channels], rejected: [], recovered, offset });
    for (const push of [...gaps, ...messages]) hooks.push(push);
    // Nothing of ours lies between the last message and the answer's cursor.
    hooks.push({ type: 'subscription_ack', subscribed: [], rejected: [], offset: to.offset });
    return to;
  }

  function fail(error: Partial<Refusal>, signal: AbortSignal): void {
    if (closed || (signal.aborted && signal.reason !== 'late')) return;
    if (wanted.refused(error, hooks)) return restart();
    closed = true;
    hooks.end(codeOf(error.status ?? 0), error.message ?? String(error), error.advisedMs);
  }

  function restart(): void {
    if (scheduled) return;
    scheduled = true;
    queueMicrotask(() => {
      scheduled = false;
      request.abort();
      if (closed || wanted.channels.size === 0) return;
      request = new AbortController();
      const { signal } = request;
      loop(signal).catch((error) => fail(error, signal));
    });
  }

  return {
    send(command) {
      const added = wanted.apply(command);
      if (command.type !== 'subscribe' && command.type !== 'unsubscribe') return;
      restart();
      if (added) pollSnapshot(options, hooks, added);
    },
    close() {
      closed = true;
      request.abort();
    },
  };
}
