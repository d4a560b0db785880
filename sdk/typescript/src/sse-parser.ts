/** Server-sent events out of pieces of text, as the HTML standard reads them. Pure; holds at most one unfinished event. */

export interface ServerEvent {
  /** Name of the event; `message` when it has none. */
  event: string;
  /** Undefined when there is only an id. */
  data: string | undefined;
  /** The last id that was set, by this event or one before. */
  id: string;
}

/** Larger than any message that a gateway takes (characters). */
const MAX_EVENT = 16 * 1024 * 1024;

export class SseParser {
  #rest = '';
  #data: string[] = [];
  #size = 0;
  #event = '';
  #id = '';
  /** This event has an id of its own. */
  #named = false;

  /** The events that are complete with this piece. Throws when one is larger than any message can be. */
  take(piece: string): ServerEvent[] {
    const events: ServerEvent[] = [];
    const text = this.#rest + piece;
    let begin = 0;
    for (;;) {
      const end = text.slice(begin).search(/\r\n?|\n/) + begin;
      // A CR at the very end may be the first half of a line end.
      if (end < begin || (text[end] === '\r' && end + 1 === text.length)) break;
      this.#line(text.slice(begin, end), events);
      begin = end + (text.startsWith('\r\n', end) ? 2 : 1);
    }
    this.#rest = text.slice(begin);
    if (this.#rest.length + this.#size > MAX_EVENT) throw new Error('an event is larger than any message can be');
    return events;
  }

  #line(line: string, events: ServerEvent[]): void {
    if (line === '') {
      const data = this.#data.length > 0 ? this.#data.join('\n') : undefined;
      // The standard passes an event without data over; its id counts all the same.
      if (data !== undefined || this.#named) events.push({ event: this.#event || 'message', data, id: this.#id });
      this.#named = false;
      this.#data = [];
      this.#event = '';
      this.#size = 0;
      return;
    }
    const colon = line.indexOf(':');
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
    if (field === 'data') {
      this.#data.push(value);
      this.#size += value.length;
    } else if (field === 'event') this.#event = value;
    else if (field === 'id' && !value.includes('\0')) {
      this.#id = value;
      this.#named = true;
    }
  }
}
