/** Listeners by event type. A listener that throws harms nobody else. */
import type { ClientEvent, EventOf } from './types.js';

type Listener<E> = (event: E) => void;

export class Emitter {
  readonly #listeners = new Map<string, Set<Listener<never>>>();
  /** Events that have not been delivered to every listener yet. */
  readonly #queue: ClientEvent[] = [];

  on<K extends ClientEvent['type']>(type: K, listener: Listener<EventOf<K>>): () => void {
    const listeners = this.#listeners.get(type) ?? new Set();
    this.#listeners.set(type, listeners.add(listener));
    return () => void listeners.delete(listener);
  }

  /** Calls every listener of an event. An event that a listener causes follows after all listeners of the one before. */
  emit(event: ClientEvent): void {
    if (this.#queue.push(event) > 1) return;
    for (const one of this.#queue)
      for (const listener of [...(this.#listeners.get(one.type) ?? [])]) call(listener as Listener<ClientEvent>, one);
    this.#queue.length = 0;
  }
}

/** Calls code that is not ours: what it throws is reported as uncaught, after everybody else has been called. */
export function call<A>(callback: (argument: A) => void, argument: A): void {
  try {
    callback(argument);
  } catch (error) {
    setTimeout(() => {
      throw error;
    });
  }
}
