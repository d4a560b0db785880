import { expect, test } from 'vitest';
import { chunks, matches } from '../../src/channels.js';

test.each([
  ['a.b', 'a.b', true],
  ['a.b', 'a.c', false],
  ['a.b', 'a', false],
  ['a', 'a.b', false],
  ['a.*', 'a.b', true],
  ['a.*', 'a.b.c', false],
  ['a.*', 'a', false],
  ['*.b', 'a.b', true],
  ['*.*', 'a.b', true],
  ['a.>', 'a.b', true],
  ['a.>', 'a.b.c', true],
  ['a.>', 'a', false],
  ['>', 'a', true],
  ['>', 'a.b.c', true],
  ['*', 'a', true],
  ['*', 'a.b', false],
  ['a.*', '*.b', true],
  ['*.b', 'a.>', true],
  ['a.>', 'a', false],
  ['>', '*.x', true],
  ['a.*', 'b.>', false],
])('%s has %s: %s', (pattern, channel, expected) => {
  expect(matches(pattern, channel)).toBe(expected);
});

test('a long list of channels is cut so that no command is too long', () => {
  const channels = Array.from({ length: 1000 }, (_, i) => `channel.${i}`);
  const parts = chunks(channels, 3000);
  expect(parts.flat()).toEqual(channels);
  expect(parts.length).toBeGreaterThan(1);
  for (const part of parts) expect(JSON.stringify(part).length).toBeLessThanOrEqual(3000);
  expect(chunks(['x'.repeat(9000), 'y'], 3000)).toHaveLength(2);
});
