/** When what has changed is shown: once per frame, however much comes in between, and not more often than is wanted. */

import { call } from './emitter.js';

/** A hidden page has no frames, but its title may still count (ms). */
const NO_FRAME_MS = 200;

const waiting = new Set<() => void>();

/** Calls back with the next frame, together with all others. Where there are no frames, soon. */
export function onFrame(run: () => void): void {
  waiting.add(run);
  if (waiting.size > 1) return;
  const flush = (): void => {
    clearTimeout(timer);
    if (frame !== undefined) cancelAnimationFrame(frame);
    const runs = [...waiting];
    waiting.clear();
    for (const one of runs) call(one, undefined);
  };
  const frame = typeof requestAnimationFrame === 'function' ? requestAnimationFrame(flush) : undefined;
  const timer = setTimeout(flush, frame === undefined ? 0 : NO_FRAME_MS);
}

export interface Pace {
  coalesce?: boolean | undefined;
  maxRate?: number | undefined;
}

/** Calls `run` after a call, as soon as the pace allows: several calls until then are one. What is urgent waits for no rate. `run`
 * returns whether it counts for the rate; `pace` is read each time. */
export function paced(run: () => boolean, pace: () => Pace): { soon(urgent?: boolean): void; cancel(): void } {
  let due = false;
  let cancelled = false;
  let lastAt = Number.NEGATIVE_INFINITY;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const now = (): void => {
    due = false;
    timer = undefined;
    if (!cancelled && run()) lastAt = performance.now();
  };
  return {
    soon(urgent) {
      if (due && !(urgent && timer)) return;
      clearTimeout(timer);
      timer = undefined;
      due = true;
      const { coalesce = true, maxRate } = pace();
      const wait = maxRate && !urgent ? lastAt + 1000 / maxRate - performance.now() : 0;
      if (wait > 0) timer = setTimeout(now, wait);
      else if (coalesce) onFrame(now);
      else now();
    },
    cancel() {
      cancelled = true;
      clearTimeout(timer);
    },
  };
}
