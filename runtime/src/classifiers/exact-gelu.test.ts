import assert from 'node:assert/strict';
import { test } from 'node:test';
import { exactGelu } from './exact-gelu.ts';

/** x * norm.cdf(x) of scipy.stats, on the grid of the table and off it, at values of float32. */
const KNOWN = [
  [-4.5, -1.5289529061285242e-5],
  [-2.3447265625, -0.022323013923771885],
  [-0.7509765625, -0.16997106411859672],
  [0, 0.0],
  [0.1005859375, 0.0543224836355458],
  [0.3369140625, 0.21289908153258402],
  [1.2353515625, 1.1015014112950618],
  [2.7099609375, 2.700843120455771],
  [6.0009765625, 6.000976556615013],
] as const;

test('GELU by the error function is within an ulp of float32', () => {
  const got = exactGelu(Float32Array.from(KNOWN, ([x]) => x));
  for (const [i, [x, expected]] of KNOWN.entries()) {
    assert.ok(Math.abs(got[i] - expected) <= 1.2e-7 * Math.max(0.01, Math.abs(expected)), `${x}: ${got[i]}`);
  }
});

test('beyond the table it is the value or 0, and NaN stays', () => {
  const far = [8, 100, Number.POSITIVE_INFINITY, -8, -100, Number.NEGATIVE_INFINITY, Number.NaN];
  assert.deepEqual([...exactGelu(Float32Array.from(far))], [8, 100, Number.POSITIVE_INFINITY, 0, 0, 0, Number.NaN]);
});
