/**
 * The long-poll line: one request after another, each from the cursor that the answer before it gave. What a
 * WebSocket would push is made of the answers. Also: what the one-way lines have in common.
 */
import { formatCursor, parseCursor } from './cursor-text.js';
import type { Command, Line, LineHooks, LineOptions, SubscribeCommand } from './transport.js';
import { codeOf, identity, type Refusal, refusalOf, siblingUrl } from './transport-http.js';
import type { Cursor } from './types.js';

/** Seconds that the gateway may keep a request; idle proxies cut at 30 or 60. */
const WAIT = 25;
/** On top of that, for the round trip (ms). */
const MARGIN_MS = 15_000;

/** The channels of a one-way line, and where it resumes. */
export class Wanted {
  readonly channels = new Set<string>();
  #snapshot = false;
  /** Channels whose last values are asked for by themselves: the line resumes from a cursor, and then brings none. */
  readonly #values = new Set<string>();
  #resume: Cursor | null = null;
  /** The last subscribe, while nothing is known of it. */
  #asked: SubscribeCommand | null = null;

  constructor(readonly options: LineOptions) {}

  /** Takes a command in. Returns whether a new request is needed. */
  apply(command: Command): boolean {
    if (command.type === 'auth') this.options.token = command.token;
    if (!('channels' in command) || command.channels.length === 0) return false;
    const { channels } = command;
    if (command.type === 'unsubscribe') for (const channel of channels) this.channels.delete(channel);
    else {
      for (const channel of channels) {
        this.channels.add(channel);
        if (command.snapshot && !command.resume) this.#values.add(channel);
      }
      this.#snapshot ||= command.snapshot === true;
      this.#resume = command.resume ?? null;
      this.#asked = command;
    }
    return true;
  }

  /** The gateway has answered for all channels; what it rejects is not asked for again. */
  answered(rejected: unknown): void {
    this.#asked = null;
    this.#values.clear();
    if (Array.isArray(rejected)) for (const one of rejected) this.channels.delete(Object(one).channel);
  }

  /** The gateway refuses the request as it is. When that can be for the channels that were asked for last, they are
   * given up, their command is answered, and the others can be tried; else false. */
  refused(error: unknown, hooks: LineHooks): boolean {
    const { status, code, message } = error as Partial<Refusal>;
    const asked = this.#asked;
    if (status !== 400 || !asked) return false;
    this.#asked = null;
    this.#resume = asked.resume ?? null;
    for (const channel of asked.channels) {
      this.channels.delete(channel);
      this.#values.delete(channel);
    }
    hooks.push({ type: 'error', id: asked.id, code, message });
    return true;
  }

  /** Code, reason and advice of the end that an error means. */
  endOf(error: unknown): [number, string, number | undefined] {
    const { status = 0, code = '', message = String(error), advisedMs } = error as Partial<Refusal>;
    return [codeOf({ status, code }), message, advisedMs];
  }

  /** The cursor to go on from: what the last command said, later what has been delivered. */
  from(): Cursor | null {
    const from = this.#resume ?? this.options.cursor();
    this.#resume = null;
    return from;
  }

  query(from: Cursor | null): Query {
    return {
      channels: [...this.channels].join(','),
      cursor: from ? formatCursor(from) : undefined,
      snapshot: this.#snapshot ? 'true' : undefined,
    };
  }

  /** Last values that the line does not bring by itself. What is after the cursor comes as a message. */
  async lastValues(from: Cursor | null, signal: AbortSignal): Promise<unknown[]> {
    if (!from || this.#values.size === 0) return [];
    const { cursor, messages = [] } = await poll(this.options, { channels: [...this.#values].join(','), snapshot: 'true' }, signal);
    const at = parseCursor(cursor);
    if (at && at.epoch === from.epoch && at.offset < from.offset) throw new Error('the gateway is behind the cursor');
    return at?.epoch === from.epoch ? messages.filter((message) => offsetOf(message) <= from.offset) : [];
  }
}

type Query = Record<string, string | undefined>;

interface Answer {
  cursor?: unknown;
  recovered?: boolean;
  messages?: unknown[];
  gaps?: unknown[];
  rejected?: unknown[];
}

const offsetOf = (message: unknown): number => Number(Object(message).offset);

/** One request. What is refused is thrown as a `Refusal`. */
async function poll(options: LineOptions, query: Query, signal: AbortSignal): Promise<Answer> {
  const response = await (options.fetch as typeof fetch)(siblingUrl(options, 'poll', query), {
    headers: identity(options),
    cache: 'no-store',
    signal,
  });
  if (!response.ok) throw await refusalOf(response);
  return (await response.json()) as Answer;
}

export function openPoll(options: LineOptions, hooks: LineHooks): Line {
  const wanted = new Wanted(options);
  let request = new AbortController();
  let closed = false;
  let scheduled = false;
  let epoch: string | undefined;

  async function loop({ signal }: AbortController): Promise<void> {
    let from = wanted.from();
    for (let first = true; !signal.aborted && wanted.channels.size > 0; first = false) {
      const deadline = setTimeout(() => request.abort('late'), WAIT * 1000 + MARGIN_MS);
      try {
        const values = await wanted.lastValues(from, signal);
        const answer = await poll(options, { ...wanted.query(from), wait: String(first ? 0 : WAIT) }, signal);
        if (signal.aborted) return;
        from = take(answer, first, from, values);
      } finally {
        clearTimeout(deadline);
      }
    }
  }

  /** Pushes what an answer holds, in the order in which a WebSocket would have. Returns its cursor. */
  function take(answer: Answer, first: boolean, from: Cursor | null, values: unknown[]): Cursor {
    const { cursor, recovered, messages = [], gaps = [], rejected = [] } = answer;
    const to = parseCursor(cursor);
    if (!to) throw new Error('the answer of the long-poll has no cursor');
    wanted.answered(rejected);
    if (to.epoch !== epoch) {
      epoch = to.epoch;
      hooks.push({ type: 'connection:established', epoch });
    }
    // Everything after it follows: it is not behind the first message.
    const rest = messages.map((message) => (Object(message).snapshot ? to.offset : offsetOf(message) - 1));
    const offset = recovered === true && from ? from.offset : Math.min(to.offset, ...rest);
    if (first || recovered === false || rejected.length > 0)
      hooks.push({ type: 'subscription_ack', subscribed: [...wanted.channels], rejected, recovered, offset });
    for (const push of [...values, ...gaps, ...messages]) hooks.push(push);
    // Nothing of ours lies between the last message and the answer's cursor.
    hooks.push({ type: 'live', offset: to.offset });
    return to;
  }

  function fail(error: unknown, signal: AbortSignal): void {
    if (closed || (signal.aborted && signal.reason !== 'late')) return;
    if (wanted.refused(error, hooks)) return restart();
    closed = true;
    hooks.end(...wanted.endOf(error));
  }

  function restart(): void {
    request.abort();
    if (scheduled) return;
    scheduled = true;
    queueMicrotask(() => {
      scheduled = false;
      if (closed || wanted.channels.size === 0) return;
      request = new AbortController();
      const { signal } = request;
      loop(request).catch((error) => fail(error, signal));
    });
  }

  return {
    send: (command) => void (wanted.apply(command) && restart()),
    close() {
      closed = true;
      request.abort();
    },
  };
}
