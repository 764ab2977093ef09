/** For tests of endpoints: a model of ten classes with random weights, published as `tiny`, whose steps take milliseconds. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FsStore } from '@edge-dit/runtime/stores/fs';
import { putModel, randomModel } from './random-model.ts';

/** In pixels, so that it needs no decoder; its sampler remembers two steps. */
const CONFIG = {
  num_attention_heads: 4,
  attention_head_dim: 24,
  in_channels: 3,
  out_channels: 3,
  num_layers: 4,
  num_embeds_ada_norm: 10,
  norm_type: 'ada_norm_zero',
  sample_size: 16,
  patch_size: 2,
};
const SAMPLER = { _class_name: 'DPMSolverMultistepScheduler', solver_order: 3 };

export interface TinyStore {
  readonly store: FsStore;
  readonly folder: string;
  remove(): Promise<void>;
}

export async function publishTiny(names: readonly string[] = ['tiny']): Promise<TinyStore> {
  const folder = await mkdtemp(join(tmpdir(), 'edge-dit-tiny-'));
  const store = new FsStore(folder);
  for (const [i, model] of names.entries()) {
    const architecture = 'DiTTransformer2DModel';
    await putModel(store, await randomModel({ model, seed: i + 1, architecture, config: CONFIG, sampler: SAMPLER }));
  }
  return { store, folder, remove: () => rm(folder, { recursive: true }) };
}
