/** A client in Node whose messages, events and commands are written down. */
import { WebSocket } from 'ws';
import {
  type ClientEvent,
  type ClientOptions,
  createClient,
  type Message,
  type WebSocketConstructor,
  type WsGatewayClient,
} from '../../src/index.js';
import { until } from './until.js';

const TYPES: ClientEvent['type'][] = ['state', 'open', 'close', 'subscribed', 'rejected', 'gap', 'duplicate', 'pong', 'error'];

export interface Recorder {
  client: WsGatewayClient;
  events: ClientEvent[];
  /** Commands that went over a WebSocket, parsed. */
  sent: Record<string, unknown>[];
  /** URLs that were connected to, and the subprotocols. */
  urls: string[];
  protocols: string[][];
  messages: Message[];
  receive(message: Message): void;
  of<K extends ClientEvent['type']>(type: K): Extract<ClientEvent, { type: K }>[];
  live(): Promise<void>;
}

/** Retries within a tenth of a second, so that a test waits for servers, not for the backoff. */
export const EAGER = { backoff: { baseMs: 20, capMs: 100 } } satisfies Partial<ClientOptions>;

export function record(options: ClientOptions): Recorder {
  const sent: Record<string, unknown>[] = [];
  const urls: string[] = [];
  const protocols: string[][] = [];
  class Recording extends WebSocket {
    constructor(url: string, offered?: string | string[]) {
      super(url, offered);
      urls.push(url);
      protocols.push([offered ?? []].flat());
    }
    override send(data: unknown): void {
      sent.push(JSON.parse(String(data)));
      super.send(data as string);
    }
  }
  const client = createClient({ WebSocket: Recording as unknown as WebSocketConstructor, ...EAGER, ...options, lazy: true });
  const events: ClientEvent[] = [];
  for (const type of TYPES) client.on(type, (event) => void events.push(event));
  const messages: Message[] = [];
  client.connect();
  return {
    client,
    events,
    sent,
    urls,
    protocols,
    messages,
    receive: (message) => void messages.push(message),
    of: (type) => events.filter((event) => event.type === type) as never,
    live: () =>
      until(
        'a live client',
        () => client.state === 'live',
        () => JSON.stringify(events.slice(-10)),
      ),
  };
}

/** What a subscription that lost nothing and got nothing twice has: these numbers, in this order. */
export const numbers = (messages: Message[]): unknown[] => messages.map(({ data }) => (data as { n: number }).n);
export const range = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, i) => from + i);
