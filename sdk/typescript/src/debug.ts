/**
 * For development: writes what a client does, and hints at what is probably a mistake.
 *
 * In: a client. Out: lines of text. What must hold: no payload and no token is written, and nothing is subscribed to.
 */
import type { ClientEvent, WsGatewayClient } from './index.js';

export interface DebugOptions {
  /** Where lines go. Default `console.debug`; hints go there, too. */
  log?: (line: string) => void;
  /** How long an acknowledged channel may bring nothing before a hint. Default 10000. */
  silentMs?: number;
}

const TYPES = ['state', 'open', 'close', 'subscribed', 'rejected', 'gap', 'duplicate', 'error'] satisfies ClientEvent['type'][];
/** A line names so many channels at most. */
const NAMED = 5;

const named = (channels: readonly string[]): string =>
  channels.length > NAMED ? `${channels.slice(0, NAMED).join(', ')} and ${channels.length - NAMED} more` : channels.join(', ');

function line(event: ClientEvent): string {
  switch (event.type) {
    case 'state':
      return `${event.previous} → ${event.state}`;
    case 'open':
      return `open by ${event.transport}, pod ${event.pod ?? 'unknown'}, epoch ${event.epoch}`;
    case 'close':
      return `closed with ${event.code} ${event.reason}; ${event.retryInMs === null ? 'no further attempt' : `next attempt in ${Math.round(event.retryInMs)} ms`}`;
    case 'subscribed':
      return `subscribed to ${named(event.channels)} from offset ${event.offset}${event.recovered === undefined ? '' : event.recovered ? ', nothing missing' : ', part is missing'}`;
    case 'rejected':
      return `rejected ${event.channel}: ${event.code}`;
    case 'gap':
      return `gap on ${event.channel}: ${event.from} to ${event.to}, ${event.reason}`;
    case 'duplicate':
      return `duplicate on ${event.channel}: ${event.offset}`;
    case 'error':
      return `error ${event.code}: ${event.message}`;
    case 'pong':
      return `pong after ${Math.round(event.roundTripMs)} ms`;
  }
}

/** Channels that differ from this one in case, or in a prefix, and may have been meant. */
function alike(channel: string, others: readonly string[]): string[] {
  const plain = channel.toLowerCase();
  return others.filter((other) => {
    const name = other.toLowerCase();
    return other !== channel && (name === plain || name.endsWith(`.${plain}`) || plain.endsWith(`.${name}`));
  });
}

/** Writes until the returned function is called. */
export function debug(client: WsGatewayClient, options: DebugOptions = {}): () => void {
  // biome-ignore lint/suspicious/noConsole: this is what it is for
  const { log = (text) => console.debug(text), silentMs = 10_000 } = options;
  const write = (text: string): void => log(`wsgateway: ${text}`);
  const acknowledged = new Set<string>();
  const hinted = new Set<string>();
  const timers = new Set<ReturnType<typeof setTimeout>>();

  const hint = (channels: readonly string[]): void => {
    const silent = new Set(client.silent);
    for (const channel of channels) {
      if (!silent.has(channel) || hinted.has(channel)) continue;
      hinted.add(channel);
      const [other] = alike(channel, [...acknowledged]);
      write(
        `nothing has come on ${channel} yet${other ? `; is ${other} meant?` : '.'} A channel is the NATS subject without the prefix that the gateway strips (channels.stripPrefix), and case counts.`,
      );
    }
  };

  const ends = TYPES.map((type) => client.on(type, (event) => write(line(event))));
  ends.push(
    client.on('subscribed', ({ channels }) => {
      for (const channel of channels) acknowledged.add(channel);
      const timer = setTimeout(() => {
        timers.delete(timer);
        hint(channels);
      }, silentMs);
      timers.add(timer);
    }),
  );
  return () => {
    for (const end of ends) end();
    for (const timer of timers) clearTimeout(timer);
  };
}
