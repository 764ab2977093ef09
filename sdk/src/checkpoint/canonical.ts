/**
 * A checkpoint's tensors under the canonical names of its architecture, whatever its naming: renamed, reshaped, and
 * split by rows where one matrix holds several layers.
 */
import { EdgeDitError } from '@edge-dit/runtime/errors';
import type { ConfiguredArchitecture } from '@edge-dit/runtime/models/architecture';
import {
  type CheckpointLayout,
  type CheckpointTensor,
  checkpointLayout,
} from '@edge-dit/runtime/models/checkpoint-layouts';
import { architectureByName } from '@edge-dit/runtime/models/index';
import type { Checkpoint } from './checkpoint.ts';

export interface CanonicalTensor {
  readonly name: string;
  readonly shape: readonly number[];
  read(): Promise<Float32Array>;
}

export interface CanonicalCheckpoint {
  readonly architecture: ConfiguredArchitecture;
  readonly naming: string;
  readonly tensors: ReadonlyMap<string, CanonicalTensor>;
}

/** Raises `checkpoint-mismatch` naming every tensor that is missing, not expected, or of another shape. */
export function canonicalCheckpoint(checkpoint: Checkpoint): CanonicalCheckpoint {
  const architecture = architectureByName(checkpoint.architecture).configure(checkpoint.config);
  return {
    architecture,
    ...canonicalTensors(checkpoint, checkpointLayout(checkpoint.architecture, checkpoint.config)),
  };
}

/** The same for an architecture of any kind, by its layout. */
export function canonicalTensors(
  checkpoint: Checkpoint,
  layout: CheckpointLayout,
): Pick<CanonicalCheckpoint, 'naming' | 'tensors'> {
  const problems = compare(layout, checkpoint);
  if (problems.length > 0) {
    throw new EdgeDitError(
      'checkpoint-mismatch',
      `checkpoint "${checkpoint.path}" does not fit ${checkpoint.architecture} (${layout.naming} names):\n  ${problems.join('\n  ')}`,
    );
  }
  const tensors = new Map(
    layout.tensors.flatMap((stored) => split(stored, checkpoint)).map((tensor) => [tensor.name, tensor]),
  );
  return { naming: layout.naming, tensors };
}

function compare({ tensors, ignored }: CheckpointLayout, checkpoint: Checkpoint): string[] {
  const expected = new Map(tensors.map((tensor) => [tensor.name, tensor]));
  const missing = tensors
    .filter(({ name }) => !checkpoint.tensors.has(name))
    .map(({ name, shape }) => `missing: ${name} [${shape}]`);
  const extra = [...checkpoint.tensors.keys()].filter((name) => !expected.has(name) && !ignored.includes(name));
  const misshapen = tensors.flatMap(({ name, shape }) => {
    const got = checkpoint.tensors.get(name)?.shape;
    const fits = !got || (got.length === shape.length && got.every((size, i) => size === shape[i]));
    return fits ? [] : [`wrong shape: ${name} is [${got}], expected [${shape}]`];
  });
  return [...missing, ...misshapen, ...extra.map((name) => `not expected: ${name}`)];
}

function split({ name: stored, gives }: CheckpointTensor, checkpoint: Checkpoint): CanonicalTensor[] {
  let offset = 0;
  return gives.map(({ name, shape }) => {
    const from = offset;
    const length = shape.reduce((a, b) => a * b, 1);
    offset += length;
    const read = async () => {
      const values = await checkpoint.read(stored);
      return gives.length === 1 ? values : values.slice(from, from + length);
    };
    return { name, shape, read };
  });
}
