/** When what has changed is shown, with made-up frames and time. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { onFrame, paced } from '../../src/frames.js';

let frames: (() => void)[];
let shown: string[];
const show = (name: string) => () => void shown.push(name);
const frame = () => {
  for (const one of frames.splice(0)) one();
};

beforeEach(() => {
  vi.useFakeTimers();
  frames = [];
  shown = [];
  vi.stubGlobal('requestAnimationFrame', (callback: () => void) => frames.push(callback));
  vi.stubGlobal('cancelAnimationFrame', () => {});
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

test('everything that waits is shown with the next frame, together, and each thing once', () => {
  const [one, other] = [show('one'), show('other')];
  for (const run of [one, other, one, one]) onFrame(run);
  expect([shown, frames.length]).toEqual([[], 1]);
  frame();
  expect(shown).toEqual(['one', 'other']);
  vi.advanceTimersByTime(10_000);
  expect(shown).toHaveLength(2);
});

test('a page without frames, as a hidden one is, shows it a little later', () => {
  onFrame(show('one'));
  vi.advanceTimersByTime(200);
  expect(shown).toEqual(['one']);
  vi.stubGlobal('requestAnimationFrame', undefined);
  onFrame(show('two'));
  vi.advanceTimersByTime(1);
  expect(shown).toEqual(['one', 'two']);
});

test('something that throws is reported, and takes nothing else along', () => {
  onFrame(() => {
    throw new Error('mine');
  });
  onFrame(show('other'));
  frame();
  expect(shown).toEqual(['other']);
  expect(() => vi.runAllTimers()).toThrow('mine');
});

test('a rate lets the first through, then the newest when its time has come; what is urgent does not wait', () => {
  const pace = paced(
    () => {
      shown.push(`at ${performance.now() - begun}`);
      return true;
    },
    () => ({ coalesce: false, maxRate: 2 }),
  );
  const begun = performance.now();
  for (let n = 0; n < 12; n++) {
    pace.soon();
    vi.advanceTimersByTime(100);
  }
  expect(shown).toEqual(['at 0', 'at 500', 'at 1000']);
  pace.soon();
  pace.soon(true);
  expect(shown.slice(3)).toEqual(['at 1200']);
  pace.soon();
  pace.cancel();
  vi.advanceTimersByTime(10_000);
  expect(shown).toHaveLength(4);
});
