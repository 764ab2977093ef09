/**
 * The factor by which GPTQ (arXiv 2210.17323) hands the error of a rounded weight on to the weights after it, in the form
 * of LDLQ (QuIP, arXiv 2307.13304, section 3.2; theorem 6: both round alike), which needs no inverse.
 */

/** Added to the diagonal, in shares of its mean: channels that were never excited must not take errors without end. */
const DAMPING = 0.3;

/**
 * U, unit upper triangular, with H + damping = U D U^T.
 * @param h symmetric [n, n]: second moments of a layer's inputs
 */
export function errorFeedback(h: Float32Array, n: number): Float32Array {
  const rest = Float64Array.from(h);
  let trace = 0;
  for (let i = 0; i < n; i++) trace += rest[i * n + i];
  // A layer whose input was always zero has nothing to hand on.
  const damping = (DAMPING * trace) / n || 1;
  for (let i = 0; i < n; i++) rest[i * n + i] += damping;
  const u = new Float32Array(n * n);
  const row = (i: number, length: number) => rest.subarray(i * n, i * n + length);
  for (let end = n; end > 0; end -= AT_ONCE) {
    for (let a = end - 1; a >= 0; a--) {
      // Rows above have all of them to subtract, those among them the ones below.
      const pivots: number[] = [];
      for (let j = end - 1; j > a && j >= end - AT_ONCE; j--) pivots.push(j);
      const factors = pivots.map((j) => rest[j * n + a] / rest[j * n + j]);
      for (const [i, j] of pivots.entries()) u[a * n + j] = factors[i];
      const rows = pivots.map((j) => row(j, a + 1));
      if (rows.length === AT_ONCE) subtractAll(row(a, a + 1), rows, factors);
      else for (const [i, other] of rows.entries()) subtract(row(a, a + 1), other, factors[i]);
    }
  }
  for (let i = 0; i < n; i++) u[i * n + i] = 1;
  return u;
}

/** Rows that are subtracted in one pass over a row, which takes half the time; the bits are those of one after another. */
const AT_ONCE = 4;

function subtractAll(target: Float64Array, [r0, r1, r2, r3]: Float64Array[], [f0, f1, f2, f3]: number[]): void {
  for (let b = 0; b < target.length; b++) target[b] = target[b] - f0 * r0[b] - f1 * r1[b] - f2 * r2[b] - f3 * r3[b];
}

function subtract(target: Float64Array, row: Float64Array, factor: number): void {
  for (let b = 0; b < target.length; b++) target[b] -= factor * row[b];
}
