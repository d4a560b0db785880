/** Server-sent events out of pieces of text, as the HTML standard reads them. Pure; holds at most one unfinished event. */

export interface ServerEvent {
  /** Name of the event; `message` when it has none. */
  event: string;
  data: string;
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
      if (this.#data.length > 0) events.push({ event: this.#event || 'message', data: this.#data.join('\n'), id: this.#id });
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
    else if (field === 'id' && !value.includes('\0')) this.#id = value;
  }
}
