import assert from 'node:assert/strict';
import { test } from 'node:test';
import { errorFeedback } from './gptq.ts';

/** x^T x of rows that are correlated, [n, n]. */
function moments(n: number): Float32Array {
  const rows = Array.from({ length: 3 * n }, (_, r) =>
    Float64Array.from({ length: n }, (_, k) => Math.sin(1.7 * r + k) + 0.4 * Math.cos(r * (k + 1))),
  );
  return Float32Array.from({ length: n * n }, (_, i) =>
    rows.reduce((sum, row) => sum + row[Math.floor(i / n)] * row[i % n], 0),
  );
}

/** One pivot after another, as the factorization is written. */
function plainly(h: Float32Array, n: number): Float32Array {
  const rest = Array.from({ length: n }, (_, i) => Float64Array.from(h.subarray(i * n, (i + 1) * n)));
  const damping = (0.3 * rest.reduce((sum, row, i) => sum + row[i], 0)) / n || 1;
  const u = new Float32Array(n * n);
  for (let i = 0; i < n; i++) rest[i][i] += damping;
  for (let j = n - 1; j >= 0; j--) {
    u[j * n + j] = 1;
    for (let a = 0; a < j; a++) {
      const factor = rest[j][a] / rest[j][j];
      u[a * n + j] = factor;
      for (let b = 0; b <= a; b++) rest[a][b] -= factor * rest[j][b];
    }
  }
  return u;
}

test('four pivots at once give the bits of one after another, whatever is left over', () => {
  for (const n of [1, 2, 3, 4, 5, 8, 30, 63]) {
    const h = moments(n);
    assert.deepEqual(errorFeedback(h, n), plainly(h, n), `${n} channels`);
  }
});

test('inputs that were always zero have nothing to hand on', () => {
  const identity = Float32Array.from({ length: 36 }, (_, i) => Number(i % 7 === 0));
  assert.deepEqual(errorFeedback(new Float32Array(36), 6), identity);
});
