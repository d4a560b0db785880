/**
 * The connection that tabs share: one client to the gateway, and towards each tab what a gateway would be.
 *
 * In: commands of tabs through ports. Out: pushes, as the gateway has them. The hub owns the client, the last messages and a seat per
 * tab. What must hold: a tab gets every message after its cursor once, or a gap; a tab that is slow or gone costs a bounded amount.
 */
import { matches } from '../channels.js';
import { WsGatewayClient } from '../client.js';
import type { Push } from '../push.js';
import type { Command, SubscribeCommand } from '../transport.js';
import type { ClientEvent, ClientOptions, Cursor, EventOf, Message } from '../types.js';
import { TabTokens } from './ask.js';
import { Gathering } from './gathering.js';
import { History, lost, oldest } from './history.js';
import { Seat, type Waiting, type Wanted } from './seat.js';
import type { HubOptions, Port, ToHub, ToTab } from './wire.js';

/** A tab's cursor may be ahead of a new connection's for a moment: pods and their threads read the stream each for itself (ms). */
const AHEAD_MS = 5_000;
const AHEAD_POLL_MS = 250;
/** Time for an answer after a page was woken (ms). */
const WAKE_MS = 4_000;
/** What tabs may send the hub: more than any gateway allows, for it costs next to nothing. */
const LIMITS = { commandBytes: 1 << 20, commandsPerSecond: 1000 };
/** What happens to the connection, for all tabs. */
const FORWARDED = ['close', 'error'] satisfies ClientEvent['type'][];

export interface HubHooks {
  /** Tabs that are there, by their names. */
  tabs(): Promise<string[]>;
  /** Calls back once the tab is gone, unless the signal ends the wait. */
  gone(tab: string, signal: AbortSignal, then: () => void): void;
}

export class Hub {
  readonly #seats = new Map<string, Seat>();
  readonly #history = new History();
  readonly #ends = new AbortController();
  readonly #tokens = new TabTokens(() => [...this.#seats.values()]);
  #client: WsGatewayClient | undefined;
  #caughtUp = false;
  #greeting: Push | undefined;
  readonly #gathering: Gathering;
  #waking: ReturnType<typeof setTimeout> | undefined;
  #asking: ReturnType<typeof setTimeout> | undefined;

  constructor(readonly hooks: HubHooks) {
    const isHere = (tab: string): boolean => this.#seats.get(tab)?.hello !== undefined;
    this.#gathering = new Gathering(hooks.tabs, isHere, () => this.#begin());
  }

  /** Takes a tab in; returns what to do with what it sends. */
  join(tab: string, port: Port<ToTab>): (data: ToHub) => void {
    const before = this.#seats.get(tab);
    const seat = new Seat(tab, port, () => this.#client?.lastHeardAt ?? null);
    this.#seats.set(tab, seat);
    if (before) this.#forget(before, () => true);
    before?.port.close();
    this.hooks.gone(tab, this.#ends.signal, () => this.#leave(seat));
    return (data) => this.#seats.get(tab) === seat && this.#receive(seat, data);
  }

  /** Ends it, and leaves the tabs to the next hub. */
  stop(): void {
    this.#ends.abort();
    for (const { port } of this.#seats.values()) port.close();
    this.#seats.clear();
    this.#end();
  }

  #end(): void {
    this.#gathering.stop();
    clearTimeout(this.#asking);
    clearTimeout(this.#waking);
    this.#asking = this.#waking = undefined;
    this.#client?.close();
    this.#client = this.#greeting = undefined;
    this.#history.clear();
  }

  // ---- tabs ----------------------------------------------------------------------------------------------------

  #receive(seat: Seat, data: ToHub): void {
    switch (data.type) {
      case 'hello':
        return this.#hello(seat, data);
      case 'command':
        return data.line === seat.line ? this.#command(seat, data.command) : undefined;
      case 'settled':
        return this.#forget(seat, ({ line }) => data.line === seat.line && line !== seat.line);
      case 'taken':
        return seat.taken(data.count) ? this.#renew(seat) : undefined;
      case 'token':
        return this.#tokens.answered(data);
      case 'connect':
        return this.#client?.connect();
      case 'woke':
        return this.#woke();
      case 'bye':
        return this.#leave(seat);
    }
  }

  #hello(seat: Seat, hello: Extract<ToHub, { type: 'hello' }>): void {
    seat.begin(hello.line);
    seat.stalled = false;
    seat.hello = hello;
    seat.push({ ...this.#greeting, type: 'connection:established', limits: LIMITS });
    if (!this.#client) return this.#gathering.came();
    this.#status(seat);
    if (this.#greeting) this.#post(seat, { type: 'event', event: this.#greeting as unknown as EventOf<'open'> });
    this.#expectChannels(seat, hello.channels);
  }

  #leave(seat: Seat): void {
    if (this.#seats.get(seat.tab) !== seat) return;
    this.#seats.delete(seat.tab);
    this.#forget(seat, () => true);
    seat.port.close();
    if (this.#seats.size === 0) this.#end();
  }

  /** The line of a tab ends: it comes back with its cursor. */
  #renew(seat: Seat): void {
    seat.port.post({ type: 'ended', line: seat.line });
  }

  #post(seat: Seat, data: ToTab): void {
    seat.port.post(data);
  }

  #status(seat: Seat): void {
    const { state = 'connecting', transport = 'websocket', lastHeardAt: heardAt = null } = this.#client ?? {};
    this.#post(seat, { type: 'status', state, transport, heardAt });
  }

  // ---- the client ----------------------------------------------------------------------------------------------

  #begin(): void {
    const hellos = [...this.#seats.values()].flatMap(({ hello }) => hello ?? []);
    const [first] = hellos;
    if (!first || this.#client) return;
    const cursor = oldest(hellos.map((hello) => hello.cursor));
    const client = this.#connection(
      first.options,
      cursor,
      hellos.some(({ hasToken }) => hasToken),
    );
    this.#client = client;
    for (const seat of this.#seats.values()) {
      this.#expectChannels(seat, seat.hello?.channels ?? []);
      for (const { command } of seat.waiting) this.#join(seat, command);
    }
    client.connect();
    for (const seat of this.#seats.values()) this.#status(seat);
  }

  /** A page was woken, so the machine may have slept: a connection that does not answer soon is dead. */
  #woke(): void {
    const client = this.#client;
    if (client?.state !== 'live' || this.#waking) return;
    const askedAt = Date.now();
    client.ping();
    this.#waking = setTimeout(() => {
      this.#waking = undefined;
      if (client !== this.#client || client.state !== 'live' || Number(client.lastHeardAt) >= askedAt) return;
      client.close();
      client.connect();
    }, WAKE_MS);
  }

  #connection(options: HubOptions, cursor: Cursor | null, hasToken: boolean): WsGatewayClient {
    const all: ClientOptions = { ...options, cursor, lazy: true };
    if (hasToken) all.token = () => this.#tokens.ask();
    const client: WsGatewayClient = new WsGatewayClient(all, {
      settled: (session) => {
        this.#caughtUp = session.caughtUp;
        if (this.#caughtUp && this.#client === client) this.#answer();
      },
    });
    const current =
      <E>(react: (event: E) => void) =>
      (event: E): void => {
        if (this.#client === client) react(event);
      };
    client.on(
      'open',
      current((event) => this.#opened(event)),
    );
    client.on(
      'state',
      current(() => {
        for (const seat of this.#seats.values()) this.#status(seat);
      }),
    );
    client.on(
      'subscribed',
      current((event) => this.#history.subscribed(event)),
    );
    client.on(
      'gap',
      current((gap) => this.#gap(gap)),
    );
    for (const type of FORWARDED)
      client.on(
        type,
        current((event: ClientEvent) => {
          if (event.type === 'close') this.#closed();
          for (const seat of this.#seats.values()) this.#post(seat, { type: 'event', event: plain(event) });
        }),
      );
    return client;
  }

  #opened(event: EventOf<'open'>): void {
    const { epoch, connectionId, pod, transport } = event;
    if (this.#greeting?.epoch !== epoch && this.#greeting) {
      this.#history.clear();
    }
    this.#greeting = { type: 'open', transport, epoch, ...(connectionId && { connectionId }), ...(pod && { pod }) };
    for (const seat of this.#seats.values()) {
      seat.push({ type: 'connection:established', epoch, limits: LIMITS });
      this.#post(seat, { type: 'event', event });
    }
  }

  /** Tabs see what they would see of their own connection: it ends, and what they want is to be acknowledged again. */
  #closed(): void {
    this.#caughtUp = false;
    for (const seat of this.#seats.values()) this.#renew(seat);
  }

  #gap(gap: EventOf<'gap'>): void {
    this.#history.keep(gap.channel, gap.to, gap);
    for (const seat of this.#seats.values())
      if ([...seat.wanted].some(([pattern, { open }]) => open && matches(pattern, gap.channel))) seat.push(gap);
  }

  // ---- commands of tabs ----------------------------------------------------------------------------------------

  #command(seat: Seat, command: Command): void {
    switch (command.type) {
      case 'subscribe':
        seat.waiting.push({ command, serving: false, since: Date.now() });
        if (this.#client) this.#join(seat, command);
        return;
      case 'unsubscribe':
        return this.#forget(seat, (_, channel) => command.channels.includes(channel));
      case 'ping':
        return this.#pong(seat, command.timestamp);
      case 'auth':
        return this.#client?.authenticate(command.token);
    }
  }

  /** The tab's clock measures the way to here; the way to the gateway was measured here. */
  #pong(seat: Seat, timestamp: number): void {
    const { latencyMs, cursor } = this.#client ?? {};
    if (typeof latencyMs !== 'number') return this.#status(seat);
    const isLocated = this.#caughtUp && cursor && seat.waiting.length === 0;
    seat.push({ type: 'pong', timestamp: timestamp - latencyMs, ts: Date.now(), ...(isLocated && { offset: cursor.offset }) });
  }

  #join(seat: Seat, { channels }: SubscribeCommand): void {
    this.#caughtUp = false;
    for (const channel of channels) this.#want(seat, channel);
    // The answer comes when everything is settled; without channels there is nothing to settle.
    if (channels.length === 0) queueMicrotask(() => this.#answer());
  }

  /** The tab's commands for these are about to come; a connection that begins resumes all of them together. */
  #expectChannels(seat: Seat, channels: readonly string[]): void {
    for (const channel of channels) if (!seat.wanted.has(channel)) this.#want(seat, channel, { line: seat.line - 1 });
  }

  #want(seat: Seat, channel: string, { snapshot = false, open = false, line = seat.line } = {}): void {
    const client = this.#client as WsGatewayClient;
    const before = seat.wanted.get(channel);
    const receive = (message: Message): void => this.#message(seat, wanted, message);
    const changed = (): void => this.#changed(seat, channel, wanted);
    const wanted: Wanted = {
      subscription: client.subscribe(channel, receive, { snapshot, onState: changed }),
      line,
      open: open || (before?.open ?? false),
      snapshot,
    };
    seat.wanted.set(channel, wanted);
    before?.subscription.unsubscribe();
  }

  #message(seat: Seat, wanted: Wanted, message: Message): void {
    // One that waited for the rate of its channel is marked like a last value, and is for all.
    if (!message.snapshot || !wanted.snapshot) {
      this.#history.keep(message.channel, message.offset, message as unknown as Push);
      if (this.#asking) queueMicrotask(() => this.#answer());
    }
    if (wanted.open) seat.message(message);
  }

  /** A channel that was acknowledged is refused now, or the other way round. */
  #changed(seat: Seat, channel: string, wanted: Wanted): void {
    if (seat.wanted.get(channel) !== wanted || seat.waiting.some(({ command }) => command.channels.includes(channel))) return;
    const { state, rejected } = wanted.subscription;
    if (state === 'rejected' && wanted.open) {
      wanted.open = false;
      seat.push({ type: 'unsubscribed', channels: [channel], reason: rejected[channel] });
    } else if (state === 'live' && !wanted.open && wanted.line === seat.line) this.#renew(seat);
  }

  /** Gives up channels of a tab. */
  #forget(seat: Seat, test: (wanted: Wanted, channel: string) => boolean): void {
    for (const [channel, wanted] of seat.wanted) {
      if (!test(wanted, channel)) continue;
      seat.wanted.delete(channel);
      wanted.subscription.unsubscribe();
      if (![...this.#seats.values()].some((other) => other.wanted.has(channel))) this.#history.drop(channel);
    }
  }

  // ---- answers -------------------------------------------------------------------------------------------------

  /** Everything has come up to the cursor of the client: what waited for that is answered. */
  #answer(): void {
    if (!this.#client || !this.#caughtUp) return;
    // Nothing but refusals yet: there is no place in the stream.
    const cursor = this.#client.cursor ?? { epoch: String(this.#greeting?.epoch), offset: 0 };
    for (const seat of this.#seats.values()) {
      const { waiting } = seat;
      seat.waiting = [];
      for (const one of waiting) {
        const isDone = one.serving || this.#acknowledge(seat, one, cursor);
        if (!isDone) seat.waiting.push(one);
        else if (one.serving || one.command.resume) seat.push({ type: 'live', id: one.command.id, offset: cursor.offset });
      }
    }
  }

  /** A tab is ahead of the connection, which asks where it is. */
  #askSoon(): void {
    this.#asking ??= setTimeout(() => {
      this.#asking = undefined;
      this.#client?.ping();
      this.#answer();
    }, AHEAD_POLL_MS);
  }

  /** Answers a subscribe, with what the tab has missed. False: it waits, or last values are still to come. */
  #acknowledge(seat: Seat, waiting: Waiting, cursor: Cursor): boolean {
    const { id, channels, resume, snapshot } = waiting.command;
    const isAhead = resume?.epoch === cursor.epoch && resume.offset > cursor.offset;
    if (isAhead && Date.now() - waiting.since < AHEAD_MS) {
      this.#askSoon();
      return false;
    }
    const rejected: { channel: string; code: string | undefined }[] = [];
    const subscribed = channels.filter((channel) => {
      const { state, rejected: codes } = seat.status(channel);
      if (state === 'rejected') rejected.push({ channel, code: codes[channel] });
      return state === 'live';
    });
    const start = resume ? this.#history.start(resume, subscribed, cursor) : cursor.offset;
    const recovered = resume && start === resume.offset && resume.epoch === cursor.epoch;
    this.#history.subscribed({ channels: subscribed, offset: cursor.offset });
    seat.push({ type: 'subscription_ack', id, subscribed, rejected, offset: start, ...(resume && { recovered }) });
    if (resume && !recovered) for (const gap of lost(resume, start, cursor, subscribed)) seat.push(gap);
    waiting.serving = snapshot === true && !recovered && subscribed.length > 0;
    for (const channel of subscribed) {
      const wanted = seat.wanted.get(channel) as Wanted;
      wanted.open = true;
      wanted.line = seat.line;
      if (waiting.serving) this.#want(seat, channel, { snapshot: true, open: true });
    }
    if (resume) seat.replay(this.#history.after(start, subscribed));
    if (waiting.serving) this.#caughtUp = false;
    return !waiting.serving;
  }
}

/** An event that can be cloned: what a function for tokens threw may not be. */
function plain(event: ClientEvent): ClientEvent {
  return event.type === 'error' ? { type: 'error', code: event.code, message: event.message } : event;
}
