/** Waits for the tabs that are there when a connection begins: they have the cursors from which it begins. */

/** Tabs that are there say hello within milliseconds; those that are frozen do not, and are not waited for (ms). */
const GATHER_MS = 1_000;

export class Gathering {
  #timer: ReturnType<typeof setTimeout> | undefined;
  #expected: string[] | undefined;

  constructor(
    /** Tabs that are there, by their names. */
    readonly tabs: () => Promise<string[]>,
    readonly isHere: (tab: string) => boolean,
    /** All are here, or enough time has passed. */
    readonly done: () => void,
  ) {}

  /** A tab has come. */
  came(): void {
    if (this.#timer) return this.#check();
    this.#timer = setTimeout(() => this.#end(), GATHER_MS);
    const expect = (tabs: string[]): void => {
      this.#expected = tabs;
      this.#check();
    };
    this.tabs().then(expect, () => {});
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = this.#expected = undefined;
  }

  #check(): void {
    if (this.#timer && this.#expected?.every(this.isHere)) this.#end();
  }

  #end(): void {
    this.stop();
    this.done();
  }
}
