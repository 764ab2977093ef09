import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { openWasmEngine } from '@edge-dit/runtime/engines/open-wasm';
import { Meter } from '@edge-dit/runtime/meter';
import { sample } from '@edge-dit/runtime/sample';
import { createSampler } from '@edge-dit/runtime/samplers/index';
import { compileKernels } from '@edge-dit/wasm-kernels/assemble';
import { openCheckpoint } from '../checkpoint/checkpoint.ts';
import { makeTinyPipeline } from '../cli/testing/tiny-pipeline.ts';
import { loadFloatModel } from '../float-model.ts';
import { errorsOf, type Outcome, runCondition } from './run-condition.ts';

const root = await mkdtemp(join(tmpdir(), 'edge-dit-run-condition-'));
after(() => rm(root, { recursive: true }));

test('the picture is the sampler’s, and the differences are those between the halves', async () => {
  const checkpoint = await openCheckpoint(await makeTinyPipeline(root, 'dit'));
  const { engine } = await openWasmEngine(await compileKernels(), new Meter());
  const { transformer, architecture } = await loadFloatModel(checkpoint, engine);
  await checkpoint.close();
  const { geometry } = architecture;
  const schedulerConfig = checkpoint.schedulerConfig!;
  const network = { engine, transformer, geometry };
  const conditionsOf = (labels: number[]) => ({ batch: labels.length, frames: 1, height: 16, width: 16, labels });
  const run = (guidance: number, labels: number[]) =>
    runCondition({ schedulerConfig, steps: 3, guidance, seed: 4, conditions: conditionsOf(labels) }, network);
  const guided = await run(3, [10, 2]);
  const sampler = createSampler(schedulerConfig, 3);
  const picture = await sample({ ...network, sampler, conditions: conditionsOf([10, 2]), guidance: 3, seed: 4 });
  assert.deepEqual(guided.picture, picture);
  // Channels of a learned variance are left out.
  assert.deepEqual(
    guided.differences.map(({ length }) => length),
    [4 * 256, 4 * 256, 4 * 256],
  );
  assert.ok(guided.differences.every((difference) => difference.some((value) => value !== 0)));
  const same = await run(3, [2, 2]);
  assert.ok(same.differences.every((difference) => difference.every((value) => value === 0)));
  const alone = await run(1, [2]);
  assert.deepEqual(alone.differences, []);
});

test('errors: mean squares of the picture, and shares of what the text changes', () => {
  const of = (picture: number[], ...differences: number[][]): Outcome => {
    return { picture: Float32Array.from(picture), differences: differences.map((values) => Float32Array.from(values)) };
  };
  const exact = of([1, 2], [2, 0], [0, 100]);
  assert.deepEqual(errorsOf(exact, exact), { picture: 0, text: 0 });
  assert.deepEqual(errorsOf(of([1, 4], [2, 1], [0, 100]), exact), { picture: 2, text: 0.125 });
  // A step counts by its share, however much the text does in it.
  assert.deepEqual(errorsOf(of([1, 2], [2, 0], [0, 50]), exact), { picture: 0, text: 0.125 });
  assert.deepEqual(errorsOf(of([1, 4]), of([1, 2])), { picture: 2, text: 2 });
  assert.deepEqual(errorsOf(of([1, 2], [5, 0]), of([1, 2], [0, 0])), { picture: 0, text: 0 });
});
