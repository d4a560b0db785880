import assert from 'node:assert/strict';
import test from 'node:test';
import { missing, status } from './verdict.ts';

const RULES = ['A (warning)', 'B (warning)', 'C (critical)'];
const FAULTS = [{ fires: ['B (warning)', 'C (critical)'] }, { fires: [] }];

test('a whole run misses every rule that did not fire', () => {
  assert.deepEqual(missing(RULES, FAULTS, false, [{ alert: 'B (warning)' }]), ['A (warning)', 'C (critical)']);
});

test('a run of some faults misses what these are to fire, and nothing else', () => {
  assert.deepEqual(missing(RULES, FAULTS, true, [{ alert: 'B (warning)' }]), ['C (critical)']);
  assert.deepEqual(missing(RULES, FAULTS, true, [{ alert: 'B (warning)' }, { alert: 'C (critical)' }]), []);
});

test('whatever is missing fails the run, whole or not', () => {
  const good = { faults: 1, isPartial: true, never: 0, failed: 0, bare: 0 };
  assert.equal(status(good), 0);
  assert.equal(status({ ...good, never: 1 }), 1);
  assert.equal(status({ ...good, failed: 1 }), 1);
  assert.equal(status({ ...good, faults: 0 }), 1);
});

test('panels without data fail a whole run alone', () => {
  const bare = { faults: 1, isPartial: true, never: 0, failed: 0, bare: 3 };
  assert.equal(status(bare), 0);
  assert.equal(status({ ...bare, isPartial: false }), 1);
});
