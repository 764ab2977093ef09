/**
 * Frechet distance of two sets of features (arXiv 1706.08500, section 4): of the Gaussians that have their means and
 * covariances, |m - n|^2 + tr A + tr B - 2 tr (A B)^(1/2). In: feature vectors. All in float64.
 */
import { EdgeDitError } from '@edge-dit/runtime/errors';
import { EigenvalueDecomposition, Matrix } from 'ml-matrix';

export interface Moments {
  readonly count: number;
  readonly mean: Float64Array;
  /** [width, width], divided by count - 1. */
  readonly covariance: Float64Array;
}

/** @throws `invalid-argument` for fewer than two vectors, or for vectors of different lengths */
export function momentsOf(vectors: readonly Float32Array[]): Moments {
  const count = vectors.length;
  const width = vectors[0]?.length ?? 0;
  if (count < 2 || vectors.some(({ length }) => length !== width)) {
    throw new EdgeDitError('invalid-argument', `moments need two vectors or more, all of one length; got ${count}.`);
  }
  const mean = new Float64Array(width);
  for (const vector of vectors) for (let i = 0; i < width; i++) mean[i] += vector[i] / count;
  const covariance = new Float64Array(width * width);
  const centred = new Float64Array(width);
  for (const vector of vectors) {
    for (let i = 0; i < width; i++) centred[i] = vector[i] - mean[i];
    for (let i = 0; i < width; i++) {
      for (let j = 0; j <= i; j++) covariance[i * width + j] += (centred[i] * centred[j]) / (count - 1);
    }
  }
  for (let i = 0; i < width; i++) for (let j = 0; j < i; j++) covariance[j * width + i] = covariance[i * width + j];
  return { count, mean, covariance };
}

/**
 * Not below 0, where rounding would have it. The root's trace is that of (A^(1/2) B A^(1/2))^(1/2), which is symmetric, so that nothing complex comes up.
 * @throws `invalid-argument` for features of different widths
 */
export function frechetDistance(a: Moments, b: Moments): number {
  if (a.mean.length !== b.mean.length) {
    throw new EdgeDitError('invalid-argument', `features of ${a.mean.length} and of ${b.mean.length} do not compare.`);
  }
  const [first, second] = [squareMatrix(a.covariance), squareMatrix(b.covariance)];
  const root = squareRoot(first);
  const product = root.mmul(second).mmul(root);
  // Rounding makes the two halves differ in the last bits; the decomposition asks for them to be equal.
  const symmetric = product.add(product.transpose()).mul(0.5);
  const { realEigenvalues } = new EigenvalueDecomposition(symmetric, { assumeSymmetric: true });
  const trace = realEigenvalues.reduce((sum, value) => sum + Math.sqrt(Math.max(0, value)), 0);
  const squares = a.mean.reduce((sum, value, i) => sum + (value - b.mean[i]) ** 2, 0);
  return Math.max(0, squares + first.trace() + second.trace() - 2 * trace);
}

/** Of a symmetric matrix without negative eigenvalues, but for rounding. */
function squareRoot(matrix: Matrix): Matrix {
  const { eigenvectorMatrix: vectors, realEigenvalues } = new EigenvalueDecomposition(matrix, {
    assumeSymmetric: true,
  });
  const roots = realEigenvalues.map((value) => Math.sqrt(Math.max(0, value)));
  return vectors.clone().mulRowVector(roots).mmul(vectors.transpose());
}

function squareMatrix(values: Float64Array): Matrix {
  const width = Math.sqrt(values.length);
  return Matrix.from1DArray(width, width, values);
}
