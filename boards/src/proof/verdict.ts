/** What a run of faults was to show and did not. */
import type { Fault } from './faults.ts';

export interface Fired {
  readonly alert: string;
  readonly fault: string;
  readonly seconds: number;
}

/** Alerts that did not fire: of all rules, or, in a run of some faults, of those that these are to fire. */
export function missing(
  rules: readonly string[],
  faults: readonly Pick<Fault, 'fires'>[],
  isPartial: boolean,
  fired: readonly Pick<Fired, 'alert'>[],
): string[] {
  const wanted = isPartial ? faults.flatMap(({ fires }) => fires) : rules;
  return [...new Set(wanted)].filter((alert) => !fired.some((one) => one.alert === alert));
}

/** The exit status. A run of some faults is not about panels: most of them have data only in a whole one. */
export function status(run: { faults: number; isPartial: boolean; never: number; failed: number; bare: number }): number {
  // A pattern that no fault's name matches shows nothing.
  const isEmpty = run.faults === 0;
  return isEmpty || run.never + run.failed + (run.isPartial ? 0 : run.bare) > 0 ? 1 : 0;
}
