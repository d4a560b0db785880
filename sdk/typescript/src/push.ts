/** Pushes are JSON of which nothing is known but that it came. */

export type Push = { readonly [field: string]: unknown };

export const isOffset = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;
export const isText = (value: unknown): value is string => typeof value === 'string';
export const list = (value: unknown): unknown[] => (Array.isArray(value) ? value : []);

/** The bytes of a payload that is not JSON; another tab may have decoded them. */
export function bytes(text: unknown): Uint8Array {
  if (text instanceof Uint8Array) return text;
  try {
    return Uint8Array.from(atob(String(text)), (character) => character.charCodeAt(0));
  } catch {
    return new Uint8Array();
  }
}
