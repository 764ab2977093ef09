/** A checkpoint in float32 in an engine: what quantized models are compared with. */
import type { Engine } from '@edge-dit/runtime/engines/engine';
import type { LoadedModel } from '@edge-dit/runtime/models/load-model';
import { WeightLoader } from '@edge-dit/runtime/models/weights';
import { canonicalCheckpoint } from './checkpoint/canonical.ts';
import type { Checkpoint } from './checkpoint/checkpoint.ts';

export async function loadFloatModel(checkpoint: Checkpoint, engine: Engine): Promise<LoadedModel> {
  const { architecture, tensors } = canonicalCheckpoint(checkpoint);
  const loader = new WeightLoader(architecture, engine);
  for (const { name, shape, read } of tensors.values()) loader.add(name, shape, { kind: 'float', data: await read() });
  return { architecture, transformer: architecture.build(loader.finish(), engine) };
}
