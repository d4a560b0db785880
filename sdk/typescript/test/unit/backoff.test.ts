import { expect, test } from 'vitest';
import { afterEnd, ceiling, type End, lineVerdict } from '../../src/backoff.js';

const OPTIONS = { baseMs: 500, capMs: 30_000, stableMs: 10_000 };
const AGAIN = { state: 'reconnecting' };
const end = (part: Partial<End>): End => ({ code: 1006, attempt: 1, advisedMs: undefined, refusals: 0, ...part });

test('the delay is anything below a ceiling that doubles up to the cap', () => {
  expect([0, 1, 2, 5, 6, 60].map((attempt) => ceiling(attempt, OPTIONS))).toEqual([500, 1000, 2000, 16_000, 30_000, 30_000]);
  for (const random of [0, 0.5, 0.999]) {
    expect(afterEnd(end({ attempt: 3 }), OPTIONS, random)).toEqual({ delayMs: random * 4000, atLeastMs: 0, ...AGAIN });
  }
});

test('a gateway that stops spreads its clients by its advice, which is followed to the millisecond', () => {
  expect(afterEnd(end({ code: 1012, advisedMs: 1234 }), OPTIONS, 0.9)).toEqual({ delayMs: 1234, atLeastMs: 1234, ...AGAIN });
  expect(afterEnd(end({ code: 1012, advisedMs: -5 }), OPTIONS, 0.9)).toEqual({ delayMs: 0, atLeastMs: 0, ...AGAIN });
});

test('advice that may be the same for everybody, or went wrong before, is spread on top', () => {
  expect(afterEnd(end({ code: 1013, advisedMs: 2000 }), OPTIONS, 0.5)).toEqual({ delayMs: 2500, atLeastMs: 2000, ...AGAIN });
  expect(afterEnd(end({ code: 1012, advisedMs: 1234, attempt: 6 }), OPTIONS, 0.9)).toEqual({ delayMs: 28_234, atLeastMs: 1234, ...AGAIN });
  expect(afterEnd(end({ code: 1012, advisedMs: 1234, attempt: 6 }), OPTIONS, 0)).toEqual({ delayMs: 1234, atLeastMs: 1234, ...AGAIN });
  expect(afterEnd(end({ code: 1013, advisedMs: 1e12 }), OPTIONS, 0)).toEqual({ delayMs: 120_000, atLeastMs: 120_000, ...AGAIN });
});

test.each([1001, 1002, 1006, 1011, 1012, 1013, 4008, 4011, 4012, 4999])('after %i it tries again', (code) => {
  expect(afterEnd(end({ code }), OPTIONS, 0.5).delayMs).not.toBeNull();
});

test('after 4009 it waits for seconds even when chance says at once', () => {
  expect(afterEnd(end({ code: 4009 }), OPTIONS, 0)).toEqual({ delayMs: 5000, atLeastMs: 5000, ...AGAIN });
});

test.each([1003, 1007, 1009, 4010, 4013])('after %i it stops: the same would happen again', (code) => {
  expect(afterEnd(end({ code, refusals: 1 }), OPTIONS, 0.5)).toEqual({ delayMs: null, state: 'refused' });
});

test('after 1000 it is closed', () => {
  expect(afterEnd(end({ code: 1000 }), OPTIONS, 0.5)).toEqual({ delayMs: null, state: 'closed' });
});

test.each([4001, 4003, 4004])('after %i it tries with a fresh token at once, then slowly, and stops when there is none', (code) => {
  const after = (refusals: number) => afterEnd(end({ code, refusals, attempt: 9 }), OPTIONS, 0.5);
  expect(after(1)).toEqual({ delayMs: 250, atLeastMs: 0, state: 'reconnecting' });
  expect(after(2)).toEqual({ delayMs: 20_000, atLeastMs: 0, state: 'unauthorized' });
  expect(after(Number.POSITIVE_INFINITY)).toEqual({ delayMs: null, state: 'refused' });
});

test('a silent line is asked once, and given up when it does not answer', () => {
  const verdict = (now: number, heardAt: number, askedAt: number) => lineVerdict(now, heardAt, askedAt, 15_000, 10_000);
  expect(verdict(14_999, 0, 0)).toBe('quiet');
  expect(verdict(15_000, 0, 0)).toBe('ask');
  expect(verdict(25_000, 0, 15_000)).toBe('quiet');
  expect(verdict(25_001, 0, 15_000)).toBe('dead');
  expect(verdict(25_001, 15_000, 15_000)).toBe('quiet');
});
