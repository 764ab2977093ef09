/** Models larger than their memory: the same picture as with everything there, within the budget, whatever the store does. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type OpenEngine, openWasmEngine } from '@edge-dit/runtime/engines/open-wasm';
import { EdgeDitError, isEdgeDitError } from '@edge-dit/runtime/errors';
import { shardKey } from '@edge-dit/runtime/format/keys';
import { Meter } from '@edge-dit/runtime/meter';
import { gaussianNoise } from '@edge-dit/runtime/noise';
import { type GenerateRequest, Pipeline, type PipelineOptions } from '@edge-dit/runtime/pipeline';
import { MemoryStore } from '@edge-dit/runtime/stores/memory';
import type { Store } from '@edge-dit/runtime/stores/store';
import { compileKernels } from '@edge-dit/wasm-kernels/assemble';
import { putModel, randomModel } from './testing/random-model.ts';

const MIB = 2 ** 20;
const kernels = await compileKernels();
const row = (seed: number) => {
  return { count: 1, tokens: 8, channels: 64, data: gaussianNoise(seed, 0, 8 * 64), mask: new Int32Array(8).fill(1) };
};
const prompts = { embedding: { prompt: row(1), negative: row(2) } };
/** 10 blocks of 0.55 MB. */
const PIXART = {
  num_attention_heads: 8,
  attention_head_dim: 32,
  in_channels: 3,
  out_channels: 3,
  num_layers: 10,
  cross_attention_dim: 256,
  caption_channels: 64,
  sample_size: 16,
  patch_size: 2,
};
const DIT = { ...PIXART, attention_head_dim: 16, num_embeds_ada_norm: 10, num_layers: 5 };
const FACEBOOK = { input_size: 16, in_channels: 3, hidden_size: 128, depth: 5, num_heads: 8, num_classes: 10 };

const pixart = await randomModel({ model: 'a', seed: 1, config: PIXART });
const models = [
  { name: 'PixArt', model: pixart, asked: prompts, tight: 7 * MIB },
  {
    name: 'DiT of diffusers',
    model: await randomModel({
      model: 'a',
      seed: 2,
      architecture: 'DiTTransformer2DModel',
      config: DIT,
      bits: 8,
    }),
    asked: { class: 3 },
    tight: 4 * MIB,
  },
  {
    name: 'DiT of facebookresearch',
    model: await randomModel({ model: 'a', seed: 3, architecture: 'DiT', config: FACEBOOK }),
    asked: { class: 3 },
    tight: 4 * MIB,
  },
];

const memory = async (model = pixart) => {
  const store = new MemoryStore();
  await putModel(store, model);
  return store;
};
const open = (store: Store, budget: number, more: Partial<PipelineOptions> = {}) =>
  Pipeline.open({ store, model: 'a', kernels, meter: new Meter(budget), ...more });

/** Loads a model whole before it computes. */
const withoutPlaces: OpenEngine = async (...given) => {
  const opened = await openWasmEngine(...given);
  Object.defineProperty(opened.engine, 'place', { value: undefined });
  return opened;
};

describe('a model larger than its memory', () => {
  for (const { name, model, asked, tight } of models) {
    for (const guidance of [1, 3]) {
      test(`${name}, guidance ${guidance}: the bits of one that is all there`, async () => {
        const store = await memory(model);
        const request: GenerateRequest = { ...asked, seed: 5, steps: 2, guidance };
        const whole = await open(store, 64 * MIB, { openEngine: withoutPlaces });
        const late = await open(store, 64 * MIB);
        const streamed = await open(store, tight);
        const expected = (await whole.generate(request)).values;
        assert.deepEqual((await late.generate(request)).values, expected);
        assert.ok(late.loaded && late.streaming?.streamed === 0);
        for (let picture = 0; picture < 2; picture++) {
          assert.deepEqual((await streamed.generate(request)).values, expected);
        }
        assert.ok(streamed.streaming!.streamed > 0);
        assert.ok(streamed.meter.peak <= tight);
        for (const pipeline of [whole, late, streamed]) {
          await pipeline.close();
          assert.equal(pipeline.meter.current, 0);
        }
      });
    }
  }
});

describe('while blocks come', () => {
  const request: GenerateRequest = { ...prompts, seed: 5, steps: 2, guidance: 1 };
  const [TIGHT, ROOMY] = [6 * MIB, 64 * MIB];
  const expected = memory()
    .then((store) => open(store, ROOMY))
    .then((pipeline) => pipeline.generate(request));
  const lastBlock = shardKey(pixart.manifest.shards[10].sha256);

  test('the network begins before the last one is there', { timeout: 60_000 }, async () => {
    const inner = await memory();
    let begin = () => {};
    const begun = new Promise<void>((resolve) => {
      begin = resolve;
    });
    const store: Store = {
      name: 'late',
      get: async (key, options) => {
        if (key === lastBlock) await begun;
        return inner.get(key, options);
      },
    };
    const openEngine: OpenEngine = async (...given) => {
      const opened = await openWasmEngine(...given);
      const { attention } = opened.engine;
      opened.engine.attention = (...operands) => {
        begin();
        return attention.apply(opened.engine, operands);
      };
      return opened;
    };
    const pipeline = await open(store, ROOMY, { openEngine });
    assert.deepEqual((await pipeline.generate(request)).values, (await expected).values);
    await pipeline.close();
  });

  for (const budget of [TIGHT, ROOMY]) {
    test(`under ${budget / MIB} MiB: a store that fails or a client that leaves costs one request`, async () => {
      const inner = await memory();
      let left = Number.POSITIVE_INFINITY;
      const store: Store = {
        name: 'failing',
        get: async (key, options) => {
          if (key.startsWith('shards/') && left-- <= 0) throw new EdgeDitError('store-denied', `${key}: no more`);
          return inner.get(key, options);
        },
      };
      const pipeline = await open(store, budget);
      // In the first forward; with blocks that stream, in the second one too. What has come stays.
      for (const until of budget === TIGHT ? [3, 14, 17] : [3]) {
        left = until;
        await assert.rejects(pipeline.generate(request), (error) => isEdgeDitError(error, 'store-denied'));
        left = Number.POSITIVE_INFINITY;
        const leaving = new AbortController();
        let bytes = 0;
        const onBytes = (count: number) => {
          bytes += count;
          if (bytes > 1.2 * MIB) leaving.abort();
        };
        const stopped = pipeline.generate(request, { signal: leaving.signal, onBytes });
        await assert.rejects(stopped, (error) => isEdgeDitError(error, 'aborted'));
      }
      assert.deepEqual((await pipeline.generate(request)).values, (await expected).values);
      assert.ok(pipeline.meter.peak <= budget);
      await pipeline.close();
      assert.equal(pipeline.meter.current, 0);
    });
  }

  test('what does not fit even so is refused before a shard is asked for', async () => {
    const inner = await memory();
    const asked: string[] = [];
    const get: Store['get'] = (key, options) => {
      asked.push(key);
      return inner.get(key, options);
    };
    const pipeline = await open({ name: 'counted', get }, 3 * MIB);
    await assert.rejects(pipeline.generate(request), (error) => {
      assert.ok(isEdgeDitError(error, 'memory-exceeded'), String(error));
      assert.match(error.message, /even when its blocks are read one at a time/);
      return true;
    });
    assert.ok(!asked.some((key) => key.startsWith('shards/')));
    const cannot = await open(inner, 3 * MIB, { openEngine: withoutPlaces });
    await assert.rejects(cannot.generate(request), /cannot stream blocks/);
  });

  for (const { name, model, asked } of models) {
    test(`${name}: whatever the budget, it is refused at once or kept`, async () => {
      const store = await memory(model);
      const small: GenerateRequest = { ...asked, seed: 5, steps: 1, guidance: 1, width: 4, height: 4 };
      let pictures = 0;
      for (let budget = 2 * MIB; budget < 16 * MIB; budget += 0.87 * MIB) {
        for (const wanted of [{ ...small, width: undefined, height: undefined }, small]) {
          if (name.endsWith('facebookresearch') && wanted === small) continue;
          const pipeline = await open(store, budget);
          await pipeline.generate(wanted).then(
            () => pictures++,
            (error) => assert.match(error.message, /even when its blocks are read one at a time/),
          );
          assert.ok(pipeline.meter.peak <= budget);
          await pipeline.close();
        }
      }
      assert.ok(pictures > 5, `${pictures} pictures`);
    });
  }

  test('a larger picture takes memory from blocks, and nothing from the next one', async () => {
    const pipeline = await open(await memory(), 9.5 * MIB);
    assert.deepEqual((await pipeline.generate(request)).values, (await expected).values);
    const before = pipeline.streaming!.streamed;
    await pipeline.generate({ ...request, width: 32, height: 32 });
    assert.ok(pipeline.streaming!.streamed > before, `${pipeline.streaming!.streamed} of ${before}`);
    assert.deepEqual((await pipeline.generate(request)).values, (await expected).values);
    assert.ok(pipeline.meter.peak <= 9.5 * MIB);
    await pipeline.close();
  });

  test('what stays is loaded before the first request, where that is asked for', async () => {
    const broken = await open(
      { name: 'broken', get: async (key) => (await memory()).get(key.replace(/^shards/, 'no')) },
      9.5 * MIB,
    );
    await assert.rejects(broken.load(), (error) => isEdgeDitError(error, 'object-missing'));
    await broken.close();
    for (const budget of [TIGHT, ROOMY]) {
      const pipeline = await open(await memory(), budget);
      await pipeline.load();
      assert.ok(pipeline.loaded);
      assert.deepEqual((await pipeline.generate(request)).values, (await expected).values);
      await pipeline.close();
    }
  });
});
