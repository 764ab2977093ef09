/** Generations that are stopped and go on: with every sampler, at every step, the picture is that of one run. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { packCheckpoint, unpackCheckpoint } from '@edge-dit/runtime/checkpoint';
import { isEdgeDitError } from '@edge-dit/runtime/errors';
import { gaussianNoise } from '@edge-dit/runtime/noise';
import { type Generated, Pipeline, type Suspended } from '@edge-dit/runtime/pipeline';
import { samplers } from '@edge-dit/runtime/samplers/index';
import { MemoryStore } from '@edge-dit/runtime/stores/memory';
import { compileKernels } from '@edge-dit/wasm-kernels/assemble';
import { putModel, randomModel } from './testing/random-model.ts';

const STEPS = 6;
const kernels = await compileKernels();
const row = (seed: number) => {
  return { count: 1, tokens: 8, channels: 32, data: gaussianNoise(seed, 0, 256), mask: new Int32Array(8).fill(1) };
};
const request = { embedding: { prompt: row(1), negative: row(2) }, seed: 3, steps: STEPS, guidance: 2 };

async function open(sampler: Readonly<Record<string, unknown>>): Promise<Pipeline> {
  const store = new MemoryStore();
  await putModel(store, await randomModel({ model: 'm', seed: 1, sampler }));
  return Pipeline.open({ store, model: 'm', kernels });
}

const suspended = (result: Generated | Suspended): Suspended => {
  assert.ok('checkpoint' in result);
  return result;
};

const configs = [
  ...samplers.map(({ name }) => ({ _class_name: name })),
  { _class_name: 'DPMSolverMultistepScheduler', solver_order: 3 },
  { _class_name: 'UniPCMultistepScheduler', solver_order: 3 },
];

for (const sampler of configs) {
  test(`${Object.values(sampler).join(', order ')}: stopped after any step, by another pipeline, the same bytes`, async () => {
    const first = await open(sampler);
    const kept: Uint8Array[] = [];
    const whole = await first.generate(request, {
      async onStep(step, steps, report) {
        assert.deepEqual([step, steps], [kept.length + 1, STEPS]);
        kept.push(await report.checkpoint());
      },
    });
    const second = await open(sampler);
    for (const [i, from] of kept.entries()) {
      assert.deepEqual((await second.generate(request, { from })).values, whole.values, `from step ${i + 1}`);
      const stopped = await second.advance(request, i + 1);
      if (i + 1 < STEPS) assert.deepEqual(suspended(stopped).checkpoint, from, `after step ${i + 1}`);
      else assert.deepEqual((stopped as Generated).rgb, whole.rgb);
    }
    // Two steps at a time, as a host does that has little time.
    let part = await first.advance(request, 2);
    for (let step = 2; 'checkpoint' in part; step += 2) {
      assert.deepEqual([part.step, part.steps], [step, STEPS]);
      part = await first.advance(request, 2, { from: part.checkpoint });
    }
    assert.deepEqual(part.values, whole.values);
    await Promise.all([first.close(), second.close()]);
  });
}

test('a preview has the proportions of the picture, and ends as it', async () => {
  const pipeline = await open({ _class_name: 'FlowMatchEulerDiscreteScheduler' });
  const sizes: number[][] = [];
  let last: Uint8Array | undefined;
  const { rgb } = await pipeline.generate(
    { ...request, width: 32, height: 16 },
    {
      onStep(step, _steps, report) {
        const { width, height, rgb } = report.preview(step === STEPS ? 32 : 12)!;
        assert.equal(rgb.length, 3 * width * height);
        sizes.push([width, height]);
        last = rgb;
      },
    },
  );
  assert.deepEqual(sizes, [...Array(STEPS - 1).fill([10, 5]), [32, 16]]);
  const differences = rgb.map((value, i) => Math.abs(value - last![i]));
  assert.ok(differences.every((difference) => difference <= 1));
  await pipeline.close();
});

test('a checkpoint of something else, or one that is damaged, is refused with the reason', async () => {
  const pipeline = await open({});
  const { checkpoint } = suspended(await pipeline.advance(request, 3));
  const refused = async (bytes: Uint8Array, reason: RegExp, asked = request) =>
    assert.rejects(pipeline.generate(asked, { from: bytes }), (error) => {
      assert.ok(isEdgeDitError(error, 'resume-refused'), String(error));
      assert.match(error.message, reason);
      return true;
    });
  for (const other of [
    { seed: 4 },
    { steps: 5 },
    { guidance: 3 },
    { width: 32 },
    { embedding: { prompt: row(1), negative: row(3) } },
  ]) {
    await refused(checkpoint, /another request/, { ...request, ...other });
  }
  const other = await open({ clip_sample: false });
  await assert.rejects(other.generate(request, { from: checkpoint }), /another model/);
  for (const length of [0, 7, 83, checkpoint.length - 1]) await refused(checkpoint.slice(0, length), /none|damaged/);
  for (const at of [9, 45, 60, checkpoint.length - 1]) {
    const damaged = checkpoint.slice();
    damaged[at] ^= 1;
    await refused(damaged, /damaged/);
  }
  const newer = checkpoint.slice();
  newer[4] = 2;
  await refused(newer, /version 2/);
  // Whoever refuses goes on to work.
  await pipeline.generate(request, { from: checkpoint });
  await Promise.all([pipeline.close(), other.close()]);
});

test('version 1 stays as it is, byte by byte', async () => {
  const identity = 'ab'.repeat(32);
  const state = { x: Float32Array.of(1, -2), history: [Float32Array.of(0.5, 0)] };
  const bytes = await packCheckpoint({ step: 3, state }, identity);
  const hex = Buffer.from(bytes).toString('hex');
  assert.equal(
    hex.slice(0, 136),
    `4544435001000000${identity}03000000${'02000000'.repeat(2)}0000803f000000c00000003f00000000`,
  );
  assert.deepEqual(await unpackCheckpoint(bytes, { identity, steps: 3, length: 2 }), { step: 3, state });
  for (const expected of [
    { identity, steps: 2, length: 2 },
    { identity, steps: 3, length: 1 },
  ]) {
    await assert.rejects(unpackCheckpoint(bytes, expected), /do not fit/);
  }
});
