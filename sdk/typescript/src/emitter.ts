/** Listeners by event type. A listener that throws harms nobody else. */
import type { ClientEvent, EventOf } from './types.js';

type Listener<E> = (event: E) => void;

export class Emitter {
  readonly #listeners = new Map<string, Set<Listener<never>>>();

  on<K extends ClientEvent['type']>(type: K, listener: Listener<EventOf<K>>): () => void {
    const listeners = this.#listeners.get(type) ?? new Set();
    this.#listeners.set(type, listeners.add(listener));
    return () => void listeners.delete(listener);
  }

  emit(event: ClientEvent): void {
    for (const listener of [...(this.#listeners.get(event.type) ?? [])]) call(listener as Listener<ClientEvent>, event);
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
