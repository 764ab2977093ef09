/**
 * What depends on the timestep alone (its embedding, the adaLN vectors of blocks) is computed for all steps of a request
 * at once: one product of many rows instead of many products of two. Rows do not depend on each other, so the bits are
 * those of a computation step by step.
 */
import type { Engine, Tensor } from '../engines/engine.ts';

/** Gives, for timesteps [rows], tensors whose first dimension is rows. */
export type ComputeVectors = (timesteps: Float32Array) => readonly Tensor[];

/** More than this is computed step by step: large networks have better uses for their memory. */
const MAX_BYTES = 4 * 2 ** 20;

/**
 * @param batch rows of one step
 * @param bytes of the tensors of one row
 * @returns the tensors of a step [batch, ...]; timesteps that are not of the schedule are computed when they come
 */
export function stepVectors(
  engine: Engine,
  schedule: readonly number[],
  batch: number,
  bytes: number,
  compute: ComputeVectors,
): (timesteps: ArrayLike<number>) => readonly Tensor[] {
  const steps = schedule.length * batch * bytes <= MAX_BYTES ? schedule : [];
  const rows = Float32Array.from({ length: steps.length * batch }, (_, row) => steps[Math.floor(row / batch)]);
  const all = steps.length > 0 ? compute(rows) : [];
  return (timesteps) => {
    const step = steps.findIndex((value) => Array.from(timesteps).every((timestep) => timestep === Math.fround(value)));
    if (step < 0) return compute(Float32Array.from(timesteps));
    return all.map((tensor) => stepOf(engine, tensor, step, steps.length));
  };
}

/** Rows of step `step` of a tensor [steps * batch, ...]. */
function stepOf(engine: Engine, tensor: Tensor, step: number, steps: number): Tensor {
  const [rows, ...rest] = tensor.shape;
  const batch = rows / steps;
  const size = rest.reduce((a, b) => a * b, batch);
  return engine.reshape(engine.select(engine.reshape(tensor, [1, steps, size]), step), [batch, ...rest]);
}
