import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { gaussianNoise } from '@edge-dit/runtime/noise';
import { frechetDistance, type Moments, momentsOf } from './frechet.ts';

const WIDTH = 24;
const near = (got: number, expected: number, tolerance = 1e-9) =>
  assert.ok(Math.abs(got - expected) <= tolerance * Math.max(1, Math.abs(expected)), `${got}, expected ${expected}`);

/** `count` vectors whose channels are mixed, so that the covariance is full. */
function vectors(seed: number, count: number, width = WIDTH): Float32Array[] {
  const mix = gaussianNoise(seed, 1, width * width);
  return Array.from({ length: count }, (_, n) => {
    const noise = gaussianNoise(seed, 2 + n, width);
    return Float32Array.from({ length: width }, (_, i) => {
      let sum = 0.1 * i;
      for (let j = 0; j < width; j++) sum += mix[i * width + j] * noise[j];
      return sum;
    });
  });
}

function diagonal(mean: readonly number[], deviations: readonly number[]): Moments {
  const width = mean.length;
  const covariance = new Float64Array(width * width);
  deviations.forEach((deviation, i) => {
    covariance[i * width + i] = deviation ** 2;
  });
  return { count: 2, mean: Float64Array.from(mean), covariance };
}

describe('Frechet distance', () => {
  it('of Gaussians with independent channels is the sum of squares of means and deviations', () => {
    const a = diagonal([0, 1, -2], [1, 0.5, 3]);
    const b = diagonal([1, 1, 2], [2, 0.5, 0.25]);
    near(frechetDistance(a, b), 1 + 16 + 1 + 2.75 ** 2);
  });

  it('of two channels is what the closed form of a 2 x 2 root gives', () => {
    // tr (AB)^(1/2) = sqrt(tr AB + 2 sqrt(det AB)).
    const a: Moments = { count: 2, mean: Float64Array.of(0, 0), covariance: Float64Array.of(2, 0.7, 0.7, 1) };
    const b: Moments = { count: 2, mean: Float64Array.of(0, 3), covariance: Float64Array.of(1, -0.4, -0.4, 0.5) };
    const traceOfProduct = 2 * 1 + 2 * 0.7 * -0.4 + 1 * 0.5;
    const determinant = (2 - 0.49) * (0.5 - 0.16);
    near(frechetDistance(a, b), 9 + 3 + 1.5 - 2 * Math.sqrt(traceOfProduct + 2 * Math.sqrt(determinant)));
  });

  it('is 0 of a set to itself, symmetric, and positive otherwise', () => {
    const [a, b] = [momentsOf(vectors(1, 100)), momentsOf(vectors(2, 100))];
    near(frechetDistance(a, a), 0, 1e-7);
    near(frechetDistance(a, b), frechetDistance(b, a));
    assert.ok(frechetDistance(a, b) > 1);
  });

  it('is what scipy.linalg.sqrtm and numpy.cov give', () => {
    near(frechetDistance(momentsOf(vectors(1, 100)), momentsOf(vectors(2, 100))), 369.00415227958854);
  });

  it('does not change when both sets are rotated', () => {
    const [a, b] = [vectors(1, 60), vectors(2, 60)];
    const axis = gaussianNoise(7, 0, WIDTH);
    const square = axis.reduce((sum, value) => sum + value * value, 0);
    const reflect = (vector: Float32Array) => {
      const along = (2 * vector.reduce((sum, value, i) => sum + value * axis[i], 0)) / square;
      return vector.map((value, i) => value - along * axis[i]);
    };
    const before = frechetDistance(momentsOf(a), momentsOf(b));
    near(frechetDistance(momentsOf(a.map(reflect)), momentsOf(b.map(reflect))), before, 1e-5);
  });

  it('takes sets smaller than their width, whose covariance is singular', () => {
    const few = vectors(3, 5);
    const moments = momentsOf(few);
    let trace = 0;
    for (let i = 0; i < WIDTH; i++) trace += moments.covariance[i * (WIDTH + 1)];
    near(frechetDistance(moments, moments) / trace, 0, 1e-6);
  });

  it('has moments of n - 1, and refuses what has none', () => {
    const { mean, covariance } = momentsOf([Float32Array.of(1, 2), Float32Array.of(3, 6)]);
    assert.deepEqual([...mean, ...covariance], [2, 4, 2, 4, 4, 8]);
    assert.throws(() => momentsOf([Float32Array.of(1)]), /two vectors or more/);
    const other = momentsOf([Float32Array.of(1), Float32Array.of(2)]);
    assert.throws(() => frechetDistance(other, momentsOf(vectors(1, 3))), /do not compare/);
  });
});
