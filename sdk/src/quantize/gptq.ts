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
  for (let j = n - 1; j >= 0; j--) {
    const row = rest.subarray(j * n, j * n + j);
    const pivot = rest[j * n + j];
    u[j * n + j] = 1;
    for (let a = 0; a < j; a++) {
      const factor = row[a] / pivot;
      u[a * n + j] = factor;
      const target = rest.subarray(a * n, a * n + a + 1);
      for (let b = 0; b <= a; b++) target[b] -= factor * row[b];
    }
  }
  return u;
}
