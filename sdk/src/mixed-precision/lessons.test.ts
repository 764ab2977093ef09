import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import type { Transformer } from '@edge-dit/runtime/models/architecture';
import { sample } from '@edge-dit/runtime/sample';
import { createSampler } from '@edge-dit/runtime/samplers/index';
import { openCheckpoint } from '../checkpoint/checkpoint.ts';
import { makeTinyPipeline } from '../cli/testing/tiny-pipeline.ts';
import { openFloatNetwork } from './float-network.ts';
import { answerOf, errorsOf, gainsOf, lessonsOf } from './lessons.ts';

const root = await mkdtemp(join(tmpdir(), 'edge-dit-lessons-'));
after(() => rm(root, { recursive: true }));
const path = await makeTinyPipeline(root, 'dit');
const checkpoint = await openCheckpoint(path);
await checkpoint.close();
const schedulerConfig = checkpoint.schedulerConfig!;
const { engine, model } = await openFloatNetwork(path);
const { geometry } = model.architecture;
const STEPS = 7;
const sampler = createSampler(schedulerConfig, STEPS);
const conditionsOf = (labels: number[]) => ({ batch: labels.length, frames: 1, height: 16, width: 16, labels });

/** Answers a little too much in all steps, or in one. */
const louder = (by: number, only?: number): Transformer => ({
  begin(conditions, schedule) {
    const session = model.transformer.begin(conditions, schedule);
    return {
      async forward(input, timesteps, hooks) {
        const output = await session.forward(input, timesteps, hooks);
        const errs = only === undefined || timesteps[0] === sampler.timesteps[only];
        return errs ? output.map((value) => value + by) : output;
      },
    };
  },
});

const lessons = (index: number, guidance = 3, labels = [10, 2]) =>
  lessonsOf(
    { schedulerConfig, steps: STEPS, guidance },
    { index, seed: 4, conditions: conditionsOf(labels) },
    { engine, geometry, exact: model.transformer, disturbed: louder(1e-3) },
  );

test('conditions are looked at in different steps, every fifth, or in all of few', async () => {
  const steps = async (index: number) => (await lessons(index)).map(({ step }) => step);
  assert.deepEqual([await steps(0), await steps(1), await steps(4), await steps(6)], [[0, 5], [1, 6], [4], [1, 6]]);
});

test('a gain is what an error of that step alone does to the picture of the sampler', async () => {
  const run = async (transformer: Transformer) => {
    const conditions = conditionsOf([10, 2]);
    return (await sample({ engine, transformer, geometry, sampler, conditions, guidance: 3, seed: 4 })).state.x;
  };
  const exact = await run(model.transformer);
  for (const { step, gain } of [...(await lessons(0)), ...(await lessons(4))]) {
    const changed = await run(louder(1e-3, step));
    const square = changed.reduce((sum, value, i) => sum + (value - exact[i]) ** 2, 0) / exact.length;
    assert.ok(Math.abs(gain / (square / 1e-6) - 1) < 0.01, `step ${step}: ${gain}, ${square / 1e-6}`);
  }
});

test('the network repeats its own lessons without error; another one errs by what it differs', async () => {
  const given = await lessons(0);
  const repeat = async (transformer: Transformer) => {
    const mark = engine.mark();
    const session = transformer.begin(conditionsOf([10, 2]), sampler.timesteps);
    const answers = [];
    for (const { sample: x, timestep } of given) answers.push(await answerOf(session, x, timestep, 3));
    engine.release(mark);
    return answers;
  };
  const gains = [2, 0, 0, 0, 0, 3];
  assert.deepEqual(errorsOf(await repeat(model.transformer), given, gains), { picture: 0, text: 0 });
  const { picture, text } = errorsOf(await repeat(louder(0.5)), given, gains);
  assert.ok(Math.abs(picture - 0.25 * (2 + 3)) < 1e-5, String(picture));
  // Both halves err alike: the text still does what it did.
  assert.ok(text < 1e-10, String(text));
});

test('of the text, each answer counts by its share, however much the text does in it', () => {
  const answer = (difference: number[]) => {
    return { output: new Float32Array(2), difference: Float32Array.from(difference) };
  };
  const exact = [answer([2, 0]), answer([0, 100]), answer([0, 0])].map((of, step) => ({ step, exact: of }));
  const got = [answer([2, 1]), answer([0, 50]), answer([1, 0])];
  assert.deepEqual(errorsOf(got, exact, [1, 1, 1]), { picture: 0, text: (0.25 + 0.25) / 3 });
});

test('without guidance there is no difference, and the error of the text is the picture’s', async () => {
  const [lesson] = await lessons(4, 1, [2]);
  assert.equal(lesson.exact.difference.length, 0);
  const wrong = { ...lesson.exact, output: lesson.exact.output.map((value) => value + 2) };
  const { picture, text } = errorsOf([wrong], [lesson], [0, 0, 0, 0, 0.5]);
  assert.ok(Math.abs(picture - 2) < 1e-5);
  assert.equal(text, picture);
});

test('gains of a step are those of its conditions, in the mean', () => {
  const of = (step: number, gain: number) => ({ step, gain });
  assert.deepEqual(gainsOf([of(2, 1), of(0, 4), of(2, 3)]), [4, 0, 2]);
});
