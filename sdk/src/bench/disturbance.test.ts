import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CONTROL, type TimedResult } from './core/parts.ts';
import { calmnessOf, isDisturbed, repeatDisturbed, type TimedPart } from './disturbance.ts';

const result = (ms: number): TimedResult => ({
  cases: [{ name: CONTROL, repeats: 1, milliseconds: [ms, ms, ms], macs: 1e6 }],
  checks: [],
});

test('calmness is the rate of the control by its best; what has no control is not judged', () => {
  const calmness = calmnessOf([result(10), result(20), { cases: [], checks: [] }]);
  assert.deepEqual(calmness, [1, 0.5, undefined]);
  assert.deepEqual(calmness.map(isDisturbed), [false, true, false]);
});

test('what was disturbed is measured again, twice at most, and the calmest is kept', async () => {
  const kept = new Map<string, TimedResult>();
  const part = (what: string, ...milliseconds: number[]): TimedPart => {
    const left = milliseconds.map(result);
    const first = left.shift()!;
    return { what, result: first, measure: async () => left.shift()!, keep: (better) => kept.set(what, better) };
  };
  const repeated: string[] = [];
  const parts = [part('calm', 10), part('once', 20, 10.5), part('always', 30, 40, 15), part('near', 11)];
  await repeatDisturbed(
    parts,
    (what) => repeated.push(what),
    async () => {},
  );
  assert.deepEqual(repeated, ['once', 'always', 'always']);
  assert.deepEqual([...kept.keys()], ['once', 'always']);
  assert.deepEqual(
    parts.map((one) => one.result.cases[0].milliseconds[0]),
    [10, 10.5, 15, 11],
  );
});
