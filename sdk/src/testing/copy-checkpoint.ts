/** A copy of a checkpoint in diffusers layout whose transformer is another: other numbers, or fewer blocks. */
import { cp, mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { float32Tensor, type SafetensorsTensor, serializeSafetensors } from '@edge-dit/runtime/safetensors';
import type { Checkpoint } from '../checkpoint/checkpoint.ts';

/** The values of a tensor in the copy, which may be those given; undefined leaves it out. */
export type ChangeTensor = (name: string, values: Float32Array, shape: readonly number[]) => Float32Array | undefined;

/** Writes it to `folder`, in float32; without maps of widths, which are for the weights of the original. */
export async function copyCheckpoint(
  checkpoint: Checkpoint,
  folder: string,
  change: ChangeTensor,
  config: Readonly<Record<string, unknown>> = {},
): Promise<void> {
  await mkdir(folder, { recursive: true });
  await cp(checkpoint.path, folder, { recursive: true });
  await rm(join(folder, 'bit_maps'), { recursive: true, force: true });
  const transformer = join(folder, 'transformer');
  for (const name of await readdir(transformer)) {
    if (/\.safetensors(\.index\.json)?$/.test(name)) await rm(join(transformer, name));
  }
  const out = new Map<string, SafetensorsTensor>();
  for (const [name, { shape }] of checkpoint.tensors) {
    const values = change(name, await checkpoint.read(name), shape);
    if (values) out.set(name, float32Tensor(values, shape));
  }
  await writeFile(join(transformer, 'diffusion_pytorch_model.safetensors'), serializeSafetensors(out));
  const changed = { _class_name: checkpoint.architecture, ...checkpoint.config, ...config };
  await writeFile(join(transformer, 'config.json'), JSON.stringify(changed));
}

/** One of the first blocks alone, which is what tests that take every recipe through everything can wait for. */
export const copyFirstBlocks = (checkpoint: Checkpoint, folder: string, blocks: number): Promise<void> =>
  copyCheckpoint(
    checkpoint,
    folder,
    (name, values) => (Number(/^transformer_blocks\.(\d+)\./.exec(name)?.[1] ?? 0) < blocks ? values : undefined),
    { num_layers: blocks },
  );
