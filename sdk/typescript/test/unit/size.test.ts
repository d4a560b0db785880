import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { gzipSync } from 'node:zlib';
import { expect, test } from 'vitest';

const built = (name: string) => readFileSync(resolve(import.meta.dirname, '../../dist/min', name));

const compressed = (name: string) => gzipSync(built(name), { level: 9 }).length;

test('the client is one file of less than 7.9 kB, compressed', () => {
  expect(built('wsgateway.js').toString()).not.toMatch(/^import[^(]|;import[^(]/);
  expect(compressed('wsgateway.js')).toBeLessThan(7900);
});

test('what is loaded only when WebSocket cannot be opened is less than 4 kB, compressed', () => {
  expect(built('fallback.js').toString()).not.toMatch(/^import[^(]|;import[^(]/);
  expect(compressed('fallback.js')).toBeLessThan(4000);
});

test('it depends on nothing', () => {
  const manifest = JSON.parse(readFileSync(resolve(import.meta.dirname, '../../package.json'), 'utf8'));
  expect(manifest).not.toHaveProperty('dependencies');
  const imports = [
    ...built('wsgateway.js')
      .toString()
      .matchAll(/import[ ("'`]+([^"'`)]+)/g),
  ].map((match) => match[1]);
  expect(new Set(imports)).toEqual(new Set(['./fallback.js']));
});
