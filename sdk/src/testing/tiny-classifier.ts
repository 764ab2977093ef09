/** For tests: a checkpoint of a small vision transformer whose weights are noise. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { classifierByName } from '@edge-dit/runtime/classifiers/index';
import { gaussianNoise } from '@edge-dit/runtime/noise';
import { float32Tensor, serializeSafetensors } from '@edge-dit/runtime/safetensors';

const CONFIG = {
  architecture: 'VisionTransformer',
  img_size: 32,
  patch_size: 8,
  embed_dim: 32,
  depth: 2,
  num_heads: 2,
  num_classes: 11,
};

export async function makeTinyClassifier(path: string, changes: Partial<typeof CONFIG> = {}): Promise<string> {
  const config = { ...CONFIG, ...changes };
  const { tensors } = classifierByName(config.architecture).configure(config).layout;
  const values = tensors.map(({ name, shape }, i) => {
    const noise = gaussianNoise(
      1,
      i,
      shape.reduce((a, b) => a * b, 1),
    ).map((value) => 0.3 * value);
    return [name, float32Tensor(noise, shape)] as const;
  });
  await mkdir(path, { recursive: true });
  await writeFile(join(path, 'config.json'), JSON.stringify(config));
  await writeFile(join(path, 'model.safetensors'), serializeSafetensors(new Map(values)));
  return path;
}
