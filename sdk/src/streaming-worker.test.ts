/** Models larger than an isolate, in real workerd: the bits of one that is all there, and of Node. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, test } from 'node:test';
import { serveWorkerd } from '@edge-dit/functions/serve-workerd';
import { Meter } from '@edge-dit/runtime/meter';
import { gaussianNoise } from '@edge-dit/runtime/noise';
import { Pipeline } from '@edge-dit/runtime/pipeline';
import { MemoryStore } from '@edge-dit/runtime/stores/memory';
import { compileKernels } from '@edge-dit/wasm-kernels/assemble';
import { generate } from './testing/endpoint-client.ts';
import { openStreamingWorker } from './testing/open-streaming-worker.ts';
import { putModel, randomModel } from './testing/random-model.ts';

const MIB = 2 ** 20;
const SIZES = { num_attention_heads: 4, attention_head_dim: 32, in_channels: 3, out_channels: 3, patch_size: 2 };
const pixart = await randomModel({
  model: 'a',
  seed: 1,
  config: { ...SIZES, num_layers: 8, cross_attention_dim: 128, caption_channels: 64, sample_size: 16 },
});
const dit = await randomModel({
  model: 'a',
  seed: 2,
  bits: 8,
  architecture: 'DiTTransformer2DModel',
  config: { ...SIZES, num_layers: 5, num_embeds_ada_norm: 10, sample_size: 16 },
});
const request = { seed: 7, steps: 2, guidance: 3 };
const row = (seed: number) => {
  return { count: 1, tokens: 8, channels: 64, data: gaussianNoise(seed, 0, 8 * 64), mask: new Int32Array(8).fill(1) };
};

describe('in workerd', () => {
  for (const [name, model, given] of [
    ['PixArt', pixart, { embedding: { prompt: row(1), negative: row(2) } }],
    ['DiT', dit, { class: 1 }],
  ] as const) {
    test(`a ${name} streams within its budget, with the bits of one that is all there and of Node`, async () => {
      const store = new MemoryStore();
      await putModel(store, model);
      const pipeline = await Pipeline.open({ store, model: 'a', kernels: await compileKernels(), meter: new Meter() });
      const { values } = await pipeline.generate({ ...given, ...request });
      await pipeline.close();
      const expected = createHash('sha256').update(new Uint8Array(values.buffer)).digest('hex');
      const worker = await openStreamingWorker(model);
      try {
        const whole = await worker.generate({ model: 'a', memory: 64 * MIB, request });
        assert.deepEqual([whole.sha256, whole.streaming.streamed], [expected, 0]);
        const tight = 3 * MIB;
        for (let picture = 0; picture < 2; picture++) {
          const { sha256, streaming, peakBytes, reads } = await worker.generate({ model: 'a', memory: tight, request });
          assert.equal(sha256, expected);
          assert.ok(streaming.streamed > 0 && peakBytes <= tight, `${streaming.streamed} streamed, ${peakBytes} held`);
          const all = reads.reduce((sum, count) => sum + count, 0);
          assert.ok(all >= request.steps * streaming.streamed, `${all} reads for ${streaming.streamed} blocks`);
        }
      } finally {
        await worker.close();
      }
    });
  }

  test('the deployed worker streams where its budget needs it, and says so', async () => {
    const store = new MemoryStore();
    await putModel(store, dit);
    const draw = async (memoryLimitMb: number) => {
      const { url, close } = await serveWorkerd({ store, models: ['a'], memoryLimitMb });
      try {
        const { headers, png } = await generate(url, { class: 3, seed: 1, steps: 2, guidance: 3 });
        return { streamed: headers.get('x-streamed-blocks'), png };
      } finally {
        await close();
      }
    };
    const [small, large] = [await draw(3), await draw(64)];
    assert.match(small.streamed!, /^[1-5] of 5$/);
    assert.equal(large.streamed, '0 of 5');
    assert.deepEqual(small.png, large.png);
  });
});
