/** Sums of weighted arrays, which is what every step of a linear multistep method is. */

/** One array and its weight. */
export type Term = readonly [weight: number, values: Float32Array];

/** The sum of the terms, in float64 in the order of the terms, rounded to float32 once. A weight of 0 leaves its array out. */
export function weightedSum(terms: readonly Term[]): Float32Array {
  const used = terms.filter(([weight]) => weight !== 0);
  const sum = new Float64Array(terms[0][1].length);
  for (const [weight, values] of used) {
    for (let i = 0; i < sum.length; i++) sum[i] += weight * values[i];
  }
  return Float32Array.from(sum);
}
