import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { expect, test } from 'vitest';

const read = (name: string) => readFileSync(resolve(import.meta.dirname, name), 'utf8');

test('the hook of the README is the one that the browser tests run', () => {
  const [, hook = ''] = /@begin \*\/\n([\s\S]*)\/\*\* @end/.exec(read('../browser/use-token.ts')) ?? [];
  expect(hook).toContain('useToken');
  expect(read('../../README.md')).toContain(hook);
});
