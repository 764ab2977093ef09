/** Comparison of outputs: what is not equal within tolerance is not timed. */
import { EdgeDitError } from '@edge-dit/runtime/errors';
import type { Checked } from './parts.ts';

/** ||a - b|| / ||b||; NaN where either holds one. */
export function relativeError(a: Float32Array, b: Float32Array): number {
  if (a.length !== b.length) return Number.POSITIVE_INFINITY;
  let difference = 0;
  let size = 0;
  for (let i = 0; i < a.length; i++) {
    difference += (a[i] - b[i]) ** 2;
    size += b[i] ** 2;
  }
  return Math.sqrt(difference / size);
}

export interface Output {
  readonly name: string;
  readonly values: Float32Array;
}

/** @throws `internal` when it is NaN or above the tolerance: the benchmark would compare different things */
export function checkOutput(output: Output, against: Output, tolerance: number): Checked {
  const error = relativeError(output.values, against.values);
  if (!(error <= tolerance)) {
    throw new EdgeDitError(
      'internal',
      `benchmark: ${output.name} differs from ${against.name} by ${error} (relative L2), at most ${tolerance} is expected; they do not compute the same.`,
    );
  }
  return { name: output.name, against: against.name, relativeError: error, tolerance };
}
