import assert from 'node:assert/strict';
import { it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { openWasmEngine } from '@edge-dit/runtime/engines/open-wasm';
import { Meter } from '@edge-dit/runtime/meter';
import type { Conditions } from '@edge-dit/runtime/models/architecture';
import { gaussianNoise } from '@edge-dit/runtime/noise';
import { compileKernels } from '@edge-dit/wasm-kernels/assemble';
import { openCheckpoint } from './checkpoint/checkpoint.ts';
import { loadFloatModel } from './float-model.ts';

const fixtures = fileURLToPath(new URL('../../runtime/fixtures/diffusers/', import.meta.url));
const text = { count: 2, tokens: 5, channels: 24, data: gaussianNoise(1, 1, 240), mask: new Int32Array(10).fill(1) };
const size = { batch: 2, frames: 1, height: 16, width: 16 };
const conditions: Record<string, Conditions> = {
  dit: { ...size, labels: [3, 11] },
  'pixart-microcond': {
    ...size,
    text,
    resolution: Float32Array.of(16, 16, 32, 16),
    aspectRatio: Float32Array.of(1, 2),
  },
};

for (const [name, condition] of Object.entries(conditions)) {
  it(`${name}: what is computed for all steps at once has the bits of each step by itself`, async () => {
    const checkpoint = await openCheckpoint(fixtures + name);
    const { engine } = await openWasmEngine(await compileKernels(), new Meter());
    const { transformer } = await loadFloatModel(checkpoint, engine);
    await checkpoint.close();
    const sample = gaussianNoise(2, 2, 2 * 4 * 16 * 16);
    const ahead = transformer.begin(condition, [900.25, 500, 10]);
    const alone = transformer.begin(condition);
    for (const timestep of [900.25, 10, 77]) {
      const timesteps = [timestep, timestep];
      assert.deepEqual(await ahead.forward(sample, timesteps), await alone.forward(sample, timesteps));
    }
    const mixed = [900.25, 10];
    assert.deepEqual(await ahead.forward(sample, mixed), await alone.forward(sample, mixed));
  });
}
