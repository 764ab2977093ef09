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

export interface ScheduledSteps {
  /** The timesteps of all steps, `batch` rows each; none where that would be too many bytes. */
  readonly rows: Float32Array;
  /** Which step has these timesteps, one a row; -1 for none. */
  find(timesteps: ArrayLike<number>): number;
  /** What a tensor [rows, ...] of all steps has of one: [batch, ...]. */
  of(tensor: Tensor, step: number): Tensor;
}

/**
 * @param batch rows of one step
 * @param bytes of what is kept of one row
 */
export function scheduledSteps(
  engine: Engine,
  schedule: readonly number[],
  batch: number,
  bytes: number,
): ScheduledSteps {
  const steps = schedule.length * batch * bytes <= MAX_BYTES ? schedule : [];
  return {
    rows: Float32Array.from({ length: steps.length * batch }, (_, row) => steps[Math.floor(row / batch)]),
    find: (timesteps) =>
      steps.findIndex((value) => Array.from(timesteps).every((timestep) => timestep === Math.fround(value))),
    of(tensor, step) {
      const [rows, ...rest] = tensor.shape;
      const size = rest.reduce((a, b) => a * b, rows / steps.length);
      const selected = engine.select(engine.reshape(tensor, [1, steps.length, size]), step);
      return engine.reshape(selected, [rows / steps.length, ...rest]);
    },
  };
}

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
  const steps = scheduledSteps(engine, schedule, batch, bytes);
  const all = steps.rows.length > 0 ? compute(steps.rows) : [];
  return (timesteps) => {
    const step = steps.find(timesteps);
    if (step < 0) return compute(Float32Array.from(timesteps));
    return all.map((tensor) => steps.of(tensor, step));
  };
}
