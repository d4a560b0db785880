/** Tokens for the hub: one of its tabs has the function that gets them. */
import type { Seat } from './seat.js';

/** A tab that does not answer within this time is frozen, or its issuer hangs: the next one is asked (ms). */
const ANSWER_MS = 5_000;
/** The last one that can be asked: the attempt to connect ends before. */
const LAST_ANSWER_MS = 60_000;

type Answer = (token: string | undefined) => void;

export class TabTokens {
  #id = 0;
  /** What is under way, by number. */
  readonly #waiting = new Map<number, Answer>();

  constructor(readonly seats: () => Seat[]) {}

  /** A token of any tab; fails when none has one. */
  async ask(): Promise<string> {
    // The tab that came last was seen last.
    const able = this.seats().filter(({ hello }) => hello?.hasToken);
    for (let seat = able.pop(); seat; seat = able.pop()) {
      const token = await this.#askOne(seat, able.length > 0 ? ANSWER_MS : LAST_ANSWER_MS);
      if (token) return token;
    }
    throw new Error('no tab has a token');
  }

  answered({ id, token }: { id: number; token?: string }): void {
    this.#waiting.get(id)?.(typeof token === 'string' ? token : undefined);
  }

  #askOne(seat: Seat, timeoutMs: number): Promise<string | undefined> {
    this.#id += 1;
    const id = this.#id;
    return new Promise((resolve) => {
      const done: Answer = (token) => {
        clearTimeout(timer);
        this.#waiting.delete(id);
        resolve(token);
      };
      const timer = setTimeout(done, timeoutMs, undefined);
      this.#waiting.set(id, done);
      seat.port.post({ type: 'ask', id });
    });
  }
}
