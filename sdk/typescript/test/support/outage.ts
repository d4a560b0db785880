/** A gateway that is gone for a while, under a page that reads. */
import type { Publisher } from './publisher.js';
import type { Gateway } from './servers.js';
import { until } from './until.js';

/** Waits until an expression is true in the page. */
type Holds = (expression: string) => Promise<void>;

/** Kills it under messages, and starts it again once some are stored that nobody could deliver; says how many were published. */
export async function throughAKill(gateway: Gateway, publisher: Publisher, holds: Holds): Promise<number> {
  await holds('seen.numbers.length > 50');
  await gateway.end('SIGKILL');
  await holds("client.state !== 'live'");
  const before = publisher.count;
  await until('messages that nobody can deliver', () => publisher.count > before + 20);
  await gateway.launch();
  await holds("client.state === 'live'");
  return publisher.stop();
}
