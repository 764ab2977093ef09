import assert from 'node:assert/strict';
import { it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Meter } from '@edge-dit/runtime/meter';
import { gaussianNoise } from '@edge-dit/runtime/noise';
import { createNodeOrtRuntime } from '@edge-dit/runtime/onnx/ort-node';
import { Pipeline } from '@edge-dit/runtime/pipeline';
import { MemoryStore } from '@edge-dit/runtime/stores/memory';
import { compileKernels } from '@edge-dit/wasm-kernels/assemble';
import { openCheckpoint } from './checkpoint/checkpoint.ts';
import { quantize } from './quantize/quantize.ts';
import { recipeByName } from './recipes/index.ts';

const model = fileURLToPath(new URL('../../examples/emoji/model', import.meta.url));
const MIB = 2 ** 20;

it('a new prompt after large pictures: the engine makes room for onnxruntime, and comes back', async () => {
  const store = new MemoryStore();
  const checkpoint = await openCheckpoint(model);
  await quantize({ checkpoint, recipe: recipeByName('w4a8'), model: 'emoji', store });
  await checkpoint.close();
  const kernels = await compileKernels();
  const open = (budget: number) =>
    Pipeline.open({ store, model: 'emoji', kernels, onnx: createNodeOrtRuntime, meter: new Meter(budget) });

  const row = (seed: number) => {
    return {
      count: 1,
      tokens: 24,
      channels: 256,
      data: gaussianNoise(seed, 0, 24 * 256),
      mask: new Int32Array(24).fill(1),
    };
  };
  const embedding = { prompt: row(1), negative: row(2) };
  const large = { embedding, seed: 1, steps: 1, width: 256, height: 256 };
  const asked = { prompt: 'rocket, noto style', seed: 2, steps: 1 };

  const tight = await open(100 * MIB);
  await tight.generate(large);
  const held = tight.meter.current;
  assert.ok(held > 30 * MIB, `${held} bytes: too few for what follows to need room`);
  const { rgb } = await tight.generate(asked);
  assert.ok(tight.meter.peak <= 100 * MIB);
  await tight.close();

  const roomy = await open(512 * MIB);
  assert.deepEqual(rgb, (await roomy.generate(asked)).rgb);
  await roomy.close();
});
