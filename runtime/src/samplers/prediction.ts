/**
 * From what a network predicts to the sample or the noise that it means, with x_t = alpha x_0 + sigma noise.
 * In and out: arrays of one length; inputs are never changed. Arithmetic in float64, one rounding at the end.
 */
import * as z from 'zod/mini';
import { EdgeDitError } from '../errors.ts';

export type Prediction = 'epsilon' | 'sample' | 'v_prediction' | 'flow';

/** The `prediction_type` of variance-preserving samplers. */
export const vpPrediction = z._default(z.literal(['epsilon', 'sample', 'v_prediction']), 'epsilon');
/** The same and flow, which diffusers calls `flow_prediction`. */
export const anyPrediction = z.pipe(
  z._default(z.literal(['epsilon', 'sample', 'v_prediction', 'flow_prediction', 'flow']), 'epsilon'),
  z.transform((name): Prediction => (name === 'flow_prediction' ? 'flow' : name)),
);

/** a x + b y */
export function combine(a: number, x: Float32Array, b: number, y: Float32Array): Float32Array {
  return x.map((value, i) => a * value + b * y[i]);
}

/** @throws `invalid-argument` when the network's output, or the noise, is not as long as the sample */
export function checkLength(what: string, got: Float32Array, x: Float32Array): void {
  if (got.length !== x.length) {
    throw new EdgeDitError('invalid-argument', `${what} has ${got.length} values, the sample ${x.length}`);
  }
}

/** The sample x_0 that the output means. */
export function predictedSample(
  type: Prediction,
  output: Float32Array,
  x: Float32Array,
  alpha: number,
  sigma: number,
): Float32Array {
  checkLength("the network's output", output, x);
  switch (type) {
    case 'sample':
      return output;
    case 'epsilon':
      return combine(1 / alpha, x, -sigma / alpha, output);
    case 'v_prediction':
      return combine(alpha, x, -sigma, output);
    case 'flow':
      // v = noise - x_0 with alpha = 1 - sigma.
      return combine(1, x, -sigma, output);
  }
}

/** The noise that the output means. */
export function predictedNoise(
  type: Exclude<Prediction, 'flow'>,
  output: Float32Array,
  x: Float32Array,
  alpha: number,
  sigma: number,
): Float32Array {
  checkLength("the network's output", output, x);
  switch (type) {
    case 'epsilon':
      return output;
    case 'sample':
      return combine(1 / sigma, x, -alpha / sigma, output);
    case 'v_prediction':
      return combine(sigma, x, alpha, output);
  }
}

export interface Thresholding {
  readonly thresholding: boolean;
  readonly dynamic_thresholding_ratio: number;
  readonly sample_max_value: number;
}

/**
 * Dynamic thresholding (Saharia et al. 2022, section 2.3): each item is clamped to a quantile of its own magnitudes
 * and divided by it. Without it, the sample as it is.
 * @param items how many equal parts of `sample` are items
 * @throws `invalid-argument` when `sample` does not split into them
 */
export function threshold(sample: Float32Array, options: Thresholding, items: number): Float32Array {
  if (!options.thresholding) return sample;
  const size = sample.length / items;
  if (!Number.isInteger(size) || size === 0) {
    throw new EdgeDitError(
      'invalid-argument',
      `a sample of ${sample.length} values does not split into ${items} items`,
    );
  }
  const result = new Float32Array(sample.length);
  for (let start = 0; start < sample.length; start += size) {
    const sorted = sample
      .slice(start, start + size)
      .map((value) => Math.abs(value))
      .sort();
    const position = options.dynamic_thresholding_ratio * (size - 1);
    const below = Math.floor(position);
    const above = Math.min(below + 1, size - 1);
    const quantile = sorted[below] + (sorted[above] - sorted[below]) * (position - below);
    const limit = Math.min(Math.max(quantile, 1), options.sample_max_value);
    for (let i = start; i < start + size; i++) result[i] = Math.min(Math.max(sample[i], -limit), limit) / limit;
  }
  return result;
}

/** Clamps to -range..range. */
export function clip(sample: Float32Array, range: number): Float32Array {
  return sample.map((value) => Math.min(Math.max(value, -range), range));
}
