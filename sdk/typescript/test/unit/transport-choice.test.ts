import { expect, test } from 'vitest';
import { TransportChoice } from '../../src/transport-choice.js';
import type { TransportKind } from '../../src/types.js';

const choice = (...fallback: TransportKind[]) => new TransportChoice(fallback);

/** Attempts that all fail with 1006; what plain HTTP answers, whenever it is asked. Returns initials of the transports. */
function attempts(one: TransportChoice, count: number, http: boolean): string {
  let used = '';
  for (let n = 0; n < count; n++) {
    const { next } = one;
    used += next[0];
    one.failed(next, 1006);
    if (next === 'websocket' && one.doubtful) one.answered(http);
  }
  return used;
}

test('upgrades that fail while plain HTTP works lead to every transport in turn', () => {
  expect(attempts(choice('sse', 'poll'), 9, true)).toBe('wwwspwspw');
  expect(attempts(choice('poll'), 9, true)).toBe('wwwpwpwpw');
  expect(attempts(choice(), 9, true)).toBe('wwwwwwwww');
});

test('upgrades that fail like plain HTTP, or of which that is not known, lead nowhere else', () => {
  expect(attempts(choice('sse', 'poll'), 99, false)).toBe('w'.repeat(99));
  const unanswered = choice('sse');
  for (let n = 0; n < 99; n++) unanswered.failed('websocket', 1006);
  expect(unanswered.next).toBe('websocket');
});

test('an answer that comes while the next WebSocket is tried does not cost the first fallback its turn', () => {
  const one = choice('sse', 'poll');
  for (let n = 0; n < 2; n++) one.failed('websocket', 1006);
  one.answered(true);
  one.failed('websocket', 1006);
  expect(one.next).toBe('websocket');
  one.answered(true); // the fourth is under way
  one.failed('websocket', 1006);
  expect(attempts(one, 4, true)).toBe('spws');
});

test('one failure is no doubt', () => {
  const one = choice('sse');
  one.failed('websocket', 1006);
  expect(one.doubtful).toBe(false);
  one.failed('websocket', 1006);
  expect(one.doubtful).toBe(true);
});

test.each([1012, 1013, 4001, 4008, 4009, 4011])('a WebSocket that is closed with %i has worked', (code) => {
  const one = choice('sse');
  for (let n = 0; n < 99; n++) {
    expect(attempts(one, 2, true)).toBe('ww');
    one.failed('websocket', code);
  }
});

test('busy is no reason to go elsewhere: whichever transport says it, WebSocket is next', () => {
  const one = choice('sse', 'poll');
  expect(attempts(one, 3, true)).toBe('www');
  expect(one.next).toBe('sse');
  one.failed('sse', 1013);
  expect(attempts(one, 4, true)).toBe('wwws');
});

test('where WebSocket has worked it takes more to doubt it, until the network may be another one', () => {
  const one = choice('sse');
  one.opened();
  expect(attempts(one, 7, true)).toBe('wwwwwws');
  one.opened();
  one.moved();
  expect(attempts(one, 4, true)).toBe('wwws');
});

test('a network in which nothing works any more begins anew with WebSocket', () => {
  const one = choice('sse', 'poll');
  expect(attempts(one, 5, true)).toBe('wwwsp');
  expect(attempts(one, 9, false)).toBe('wwwwwwwww');
});

test('a WebSocket that garbles what is sent is not used again, whatever happens', () => {
  const one = choice('sse', 'poll');
  one.opened();
  one.failed('websocket', 1007);
  expect([one.avoids, attempts(one, 4, true)]).toEqual([true, 'spsp']);
  one.failed('sse', 1013);
  one.moved();
  one.prefer('poll');
  expect(one.next).toBe('poll');
  one.failed('poll', 1006);
  expect(attempts(one, 4, true)).not.toContain('w');
});

test('without a fallback there is nothing else, even for a WebSocket that garbles', () => {
  const one = choice();
  one.failed('websocket', 1007);
  expect([one.avoids, one.next]).toEqual([false, 'websocket']);
});
