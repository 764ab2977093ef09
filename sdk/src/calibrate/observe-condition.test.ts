import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { openWasmEngine } from '@edge-dit/runtime/engines/open-wasm';
import { Meter } from '@edge-dit/runtime/meter';
import { compileKernels } from '@edge-dit/wasm-kernels/assemble';
import { randomFloats } from '../bench/core/random-values.ts';
import { openCheckpoint } from '../checkpoint/checkpoint.ts';
import { FIXTURES } from '../cli/testing/tiny-pipeline.ts';
import { loadFloatModel } from '../float-model.ts';
import { MomentSample } from './moment-sample.ts';
import { observeCondition } from './observe-condition.ts';
import { ObservingEngine } from './observing-engine.ts';
import { squareOf } from './second-moment.ts';

const STEPS = 3;
const TOKENS = 7;
const kernels = await compileKernels();
const checkpoint = await openCheckpoint(join(FIXTURES, 'pixart-alpha'));
after(() => checkpoint.close());
const openEngine = async () => (await openWasmEngine(kernels, new Meter(2 ** 28))).engine;
const observing = new ObservingEngine(await openEngine());
const model = await loadFloatModel(checkpoint, observing);
const { conditioning, sampleSize: size } = model.architecture.geometry;
const channels = conditioning.kind === 'text' ? conditioning.channels : 0;

test('what the text projection reads is the text, without the tokens that its mask hides', async () => {
  const data = randomFloats(2 * TOKENS * channels, 9);
  const mask = Int32Array.of(1, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 0, 0);
  const visible = [...mask.keys()].filter((token) => mask[token] === 1);
  mask.forEach((keep, token) => {
    if (!keep) data.fill(1e6, token * channels, (token + 1) * channels);
  });
  const text = { count: 2, tokens: TOKENS, channels, data, mask };
  const sample = new MomentSample(await openEngine(), 1);
  const observed = await observeCondition({
    model,
    observing,
    sample,
    schedulerConfig: { _class_name: 'DDIMScheduler', clip_sample: false },
    conditions: { batch: 2, frames: 1, height: size, width: size, text },
    steps: STEPS,
    guidance: 3,
    seed: 0,
    index: 0,
    count: 1,
  });
  const groups = await sample.addTo(observed);
  const of = (layer: string) => groups.find(({ layers }) => layers.includes(layer))!;
  const first = of('caption_projection.linear_1');
  assert.deepEqual([first.channels, first.steps, first.halves], [channels, 1, 2]);
  const rows = visible.map((token) => data.subarray(token * channels, (token + 1) * channels));
  const matrix = squareOf(first.moments!.triangle, channels);
  assert.equal(first.moments!.rows, visible.length);
  for (let c = 0; c < channels; c++) {
    assert.equal(first.channelMax[c], Math.max(...rows.map((row) => Math.abs(row[c]))));
    const squares = rows.reduce((sum, row) => sum + row[c] * row[c], 0);
    assert.equal(first.channelSquares[c], squares);
    assert.ok(Math.abs(matrix[c * channels + c] - squares) <= 1e-5 * squares);
  }
  const ranges = rows.map((row) => [Math.min(0, ...row), Math.max(0, ...row)]);
  const expected = [ranges.slice(0, 1), ranges.slice(1)].flatMap((half) => {
    const widths = half.map(([low, high]) => high - low);
    const [low, high] = [Math.min(...half.map(([value]) => value)), Math.max(...half.map(([, value]) => value))];
    return [half.length, low, high, widths.reduce((a, b) => a + b), Math.max(...widths)];
  });
  assert.deepEqual([...first.tokenRanges], expected);

  const keys = of('transformer_blocks.0.attn2.to_k');
  assert.deepEqual([keys.steps, keys.tokenRanges[0], keys.tokenRanges[5]], [1, 1, 5]);
  assert.ok(keys.layers.includes('transformer_blocks.0.attn2.to_v'));
  const { steps, tokenRanges } = of('transformer_blocks.0.attn1.to_q');
  const tokens = (size / Number(checkpoint.config.patch_size)) ** 2;
  assert.deepEqual([steps, tokenRanges.length, tokenRanges[0]], [STEPS, STEPS * 2 * 5, tokens]);
});
