/** The emoji model quantized, and its first prompts encoded, for engines that are compared elsewhere. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createNodeOrtRuntime } from '@edge-dit/runtime/onnx/ort-node';
import { Pipeline } from '@edge-dit/runtime/pipeline';
import { FsStore } from '@edge-dit/runtime/stores/fs';
import type { TextEncoder } from '@edge-dit/runtime/text/conditioning';
import { calibrate } from '@edge-dit/sdk/calibrate/calibrate';
import { openCheckpoint } from '@edge-dit/sdk/checkpoint/checkpoint';
import { quantize } from '@edge-dit/sdk/quantize/quantize';
import { recipeByName } from '@edge-dit/sdk/recipes/index';
import { compileKernels } from '@edge-dit/wasm-kernels/assemble';
import { root } from './repository.ts';

/** Engines are compared on the same numbers, which need not be the best: a short calibration does. */
const CALIBRATION_STEPS = 4;

/** Publishes `emoji` by each recipe into a folder of its name; gives the empty prompt, encoded, then the others. */
export async function prepareEmoji(folder: string, recipes: readonly string[], count: number) {
  const checkpoint = await openCheckpoint(join(root, 'examples/emoji/model'));
  const examples = JSON.parse(readFileSync(join(root, 'examples/emoji/prompts.json'), 'utf8')).slice(0, count);
  const calibration = await calibrate({ checkpoint, conditions: examples, steps: CALIBRATION_STEPS, moments: true });
  for (const name of recipes) {
    const store = new FsStore(join(folder, name));
    await quantize({ checkpoint, recipe: recipeByName(name), model: 'emoji', store, calibration });
  }
  await checkpoint.close();
  let encoder: TextEncoder | undefined;
  const pipeline = await Pipeline.open({
    store: new FsStore(join(folder, recipes[0])),
    model: 'emoji',
    kernels: await compileKernels(),
    onnx: () => createNodeOrtRuntime(),
    wrapEncoder: (own) => {
      encoder = own;
      return own;
    },
  });
  const rows = [];
  for (const prompt of ['', ...examples]) {
    const { tokens, channels, data, mask } = await encoder!.encode([prompt]);
    rows.push({ prompt, tokens, channels, data: [...data], mask: [...mask] });
  }
  await pipeline.close();
  return rows;
}
