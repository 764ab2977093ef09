/**
 * The coefficients of UniPC (Zhao et al. 2023, equations 3 and 9): how much each earlier difference of outputs counts,
 * so that polynomials up to the order are integrated exactly.
 */
import { expm1 } from '../math.ts';

/**
 * @param hh the step in lambda, negated where the sample is predicted
 * @param distances where the earlier outputs lie, in steps from the current one; all negative
 * @param corrects whether the output at the end of the step is used too, as the last weight
 * @returns B(h) and the weights of (output - current output) / distance
 */
export function unipcWeights(
  hh: number,
  distances: readonly number[],
  solver: 'bh1' | 'bh2',
  corrects: boolean,
): { b: number; weights: number[] } {
  const size = distances.length + (corrects ? 1 : 0);
  const growth = expm1(hh);
  const b = solver === 'bh1' ? hh : growth;
  if (size === 0) return { b, weights: [] };
  // With one weight the paper's shortcut of one half keeps the order.
  if (size === 1) return { b, weights: [0.5] };
  const nodes = corrects ? [...distances, 1] : distances;
  const right: number[] = [];
  let phi = growth / hh - 1;
  let factorial = 1;
  for (let k = 1; k <= size; k++) {
    right.push((phi * factorial) / b);
    factorial *= k + 1;
    phi = phi / hh - 1 / factorial;
  }
  return { b, weights: solveVandermonde(nodes, right) };
}

/** Solves sum_j nodes[j]^i weights[j] = right[i] by Gaussian elimination with row exchange. */
function solveVandermonde(nodes: readonly number[], right: readonly number[]): number[] {
  const size = nodes.length;
  const powers = nodes.map(() => 1);
  const rows = right.map((value) => {
    const row = [...powers, value];
    for (let j = 0; j < size; j++) powers[j] *= nodes[j];
    return row;
  });
  for (let column = 0; column < size; column++) {
    let pivot = column;
    for (let i = column + 1; i < size; i++) {
      if (Math.abs(rows[i][column]) > Math.abs(rows[pivot][column])) pivot = i;
    }
    [rows[column], rows[pivot]] = [rows[pivot], rows[column]];
    for (let i = column + 1; i < size; i++) {
      const factor = rows[i][column] / rows[column][column];
      for (let j = column; j <= size; j++) rows[i][j] -= factor * rows[column][j];
    }
  }
  const weights = new Array<number>(size).fill(0);
  for (let i = size - 1; i >= 0; i--) {
    let value = rows[i][size];
    for (let j = i + 1; j < size; j++) value -= rows[i][j] * weights[j];
    weights[i] = value / rows[i][i];
  }
  return weights;
}
