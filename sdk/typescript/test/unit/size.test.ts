import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { gzipSync } from 'node:zlib';
import { expect, test } from 'vitest';

const built = (name: string) => readFileSync(resolve(import.meta.dirname, '../../dist/min', name));

test('the client is less than 7 kB, compressed', () => {
  expect(gzipSync(built('wsgateway.js'), { level: 9 }).length).toBeLessThan(7000);
});

test('what is loaded only when WebSocket cannot be opened is less than 3 kB, compressed', () => {
  expect(gzipSync(built('fallback.js'), { level: 9 }).length).toBeLessThan(3000);
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
