/** What tabs and the hub that holds their connection say to each other. Plain data: it is cloned on the way. */
import type { Push } from '../push.js';
import type { Command } from '../transport.js';
import type { ClientEvent, ClientOptions, ConnectionState, Cursor, TransportKind } from '../types.js';

/** Options that can be cloned. The tab that comes first decides. */
export type HubOptions = Pick<
  ClientOptions,
  'urls' | 'batch' | 'protocols' | 'fallback' | 'probeMs' | 'raceMs' | 'backoff' | 'heartbeat' | 'connectTimeoutMs'
>;

/** `line` counts the lines of a tab: what belongs to an earlier one is ignored. */
export type ToHub =
  /** A line begins: from this cursor on, with these channels. */
  | { type: 'hello'; line: number; cursor: Cursor | null; channels: string[]; options: HubOptions; hasToken: boolean }
  | { type: 'command'; line: number; command: Command }
  /** Everything that the tab wants is acknowledged: what is left of earlier lines is not needed. */
  | { type: 'settled'; line: number }
  /** So many messages were handled. */
  | { type: 'taken'; count: number }
  /** The answer to `ask`; without a token its function has failed. */
  | { type: 'token'; id: number; token?: string }
  | { type: 'connect' }
  /** The page can be seen again. */
  | { type: 'woke' }
  | { type: 'bye' };

/** How the connection is. */
export interface HubStatus {
  state: ConnectionState;
  transport: TransportKind;
  heardAt: number | null;
}

export type ToTab =
  | { type: 'pushes'; line: number; pushes: Push[]; count: number; heardAt: number | null }
  /** The line has ended, and the tab begins another. */
  | { type: 'ended'; line: number }
  | ({ type: 'status' } & HubStatus)
  | { type: 'event'; event: ClientEvent }
  /** The hub needs a token. */
  | { type: 'ask'; id: number };

/** One end of a way between a tab and the hub. */
export interface Port<Out> {
  post(data: Out): void;
  close(): void;
}

/** Tabs of different releases of this package may be open at once: they share only what both understand. */
export const WIRE = 1;

/** Locks of a group of tabs: those of its hub, and one that each tab holds while it lives. */
export const workerLock = (key: string): string => `${key}:worker`;
export const hubLock = (key: string): string => `${key}:hub`;
export const tabLock = (key: string, tab: string): string => `${key}:tab:${tab}`;
