import { expect, test } from 'vitest';
import { Ledger } from '../../src/cursor.js';
import { formatCursor, parseCursor } from '../../src/cursor-text.js';

test('a cursor survives being written and read', () => {
  for (const cursor of [
    { epoch: 'e', offset: 0 },
    { epoch: '2026-11-21T16:00:00Z', offset: Number.MAX_SAFE_INTEGER },
  ]) {
    expect(parseCursor(formatCursor(cursor))).toEqual(cursor);
  }
  for (const text of ['', 'e', ':5', 'e:', 'e:-1', 'e:1.5', 'e:x', 'e:99999999999999999', null, undefined, 5])
    expect(parseCursor(text)).toBeNull();
});

test('a hole is what prev tells of, behind what was promised and what was seen', () => {
  const ledger = new Ledger();
  expect(ledger.hole('a', 0, 10)).toBeNull();
  expect(ledger.hole('a', 10, 10)).toBeNull();
  expect(ledger.hole('a', 12, 10)).toEqual({ from: 11, to: 12 });
  ledger.record('a', 15);
  expect(ledger.hole('a', 15, 10)).toBeNull();
  expect(ledger.hole('a', 18, 10)).toEqual({ from: 16, to: 18 });
  // Subscribed again later: what was published between is nobody's.
  expect(ledger.hole('a', 18, 20)).toBeNull();
});

test('what is forgotten is never reported as missing', () => {
  const ledger = new Ledger(2);
  ledger.record('a', 11);
  ledger.record('b', 12);
  ledger.record('c', 13);
  expect([ledger.last('a'), ledger.last('b'), ledger.last('c')]).toEqual([0, 12, 13]);
  expect(ledger.hole('a', 11, 0)).toBeNull();
  expect(ledger.hole('a', 14, 0)).toEqual({ from: 12, to: 14 });
});

test('channels that speak are kept, those that are silent are forgotten', () => {
  const ledger = new Ledger(2);
  ledger.record('a', 1);
  ledger.record('b', 2);
  ledger.record('a', 3);
  ledger.record('c', 4);
  expect([ledger.last('a'), ledger.last('b')]).toEqual([3, 0]);
});
