/** Publishes numbered messages on a channel until it is told to stop. */
import type { Nats } from './servers.js';

export class Publisher {
  #stopped = false;
  #done: Promise<void>;
  /** Numbers 1 to `count` are stored. */
  count = 0;

  constructor(nats: Nats, channel: string) {
    this.#done = this.#run(nats, channel);
  }

  async #run(nats: Nats, channel: string): Promise<void> {
    while (!this.#stopped) {
      await nats.publish(channel, { n: this.count + 1 });
      this.count += 1;
      await new Promise((done) => setTimeout(done, 2));
    }
  }

  async stop(): Promise<number> {
    this.#stopped = true;
    await this.#done;
    return this.count;
  }
}
