/** A checkpoint in float32 in an engine: what quantized models are compared with. */
import type { Engine } from '@edge-dit/runtime/engines/engine';
import type { ModelWeights } from '@edge-dit/runtime/models/architecture';
import type { LoadedModel } from '@edge-dit/runtime/models/load-model';
import { WeightLoader } from '@edge-dit/runtime/models/weights';
import { canonicalCheckpoint } from './checkpoint/canonical.ts';
import type { Checkpoint } from './checkpoint/checkpoint.ts';

export interface FloatModel extends LoadedModel {
  readonly weights: ModelWeights;
}

export async function loadFloatModel(checkpoint: Checkpoint, engine: Engine): Promise<FloatModel> {
  const { architecture, tensors } = canonicalCheckpoint(checkpoint);
  const loader = new WeightLoader(architecture, engine);
  for (const { name, shape, read } of tensors.values()) loader.add(name, shape, { kind: 'float', data: await read() });
  const weights = loader.finish();
  return { architecture, weights, transformer: architecture.build(weights, engine) };
}
