/** What every sampler of the list must do; a new member is tested without writing a test. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isEdgeDitError } from '../errors.ts';
import { gaussianNoise, noiseStream } from '../noise.ts';
import { createSampler, samplers } from './index.ts';
import type { Sampler, SamplerState } from './sampler.ts';

const LENGTH = 48;
const STEPS = 8;

/** Any smooth function of the sample and the time. */
function network(x: Float32Array, t: number): Float32Array {
  return x.map((value, i) => 0.4 * Math.tanh(value) + 0.05 * Math.sin(i + t / 300));
}

function start(sampler: Sampler): SamplerState {
  return { x: gaussianNoise(5, 0, LENGTH).map((value) => value * sampler.initNoiseSigma), history: [] };
}

function run(sampler: Sampler, from: SamplerState, first: number, last: number, net = network): SamplerState {
  let state = from;
  for (let i = first; i < last; i++) {
    const output = net(sampler.scaleInput(state.x, i), sampler.timesteps[i]);
    state = sampler.step(i, output, state, () => gaussianNoise(5, noiseStream(0, i + 1), LENGTH));
    // A caller may reuse this memory; nothing may still look at it.
    output.fill(Number.NaN);
    assert.ok(
      [state.x, ...state.history].every((values) => values.every(Number.isFinite)),
      `step ${i} is finite`,
    );
  }
  return state;
}

const refused =
  (code: 'config-unsupported' | 'invalid-argument' | 'unknown-name', pattern: RegExp) => (error: unknown) =>
    isEdgeDitError(error, code) && pattern.test(error.message);

for (const { name } of samplers) {
  const create = (options: Record<string, unknown> = {}, steps = STEPS) =>
    createSampler({ _class_name: name, ...options }, steps);

  test(`${name}: the schedule is finite, decreasing and of the right length`, () => {
    for (const steps of [1, 2, 3, STEPS, 50]) {
      const { timesteps, sigmas, initNoiseSigma } = create({}, steps);
      assert.equal(timesteps.length, steps);
      assert.ok(sigmas.length === 0 || sigmas.length === steps + 1);
      assert.ok([...timesteps, ...sigmas, initNoiseSigma].every(Number.isFinite));
      assert.ok(
        timesteps.every((t, i) => t >= 0 && t <= 1000 && (i === 0 || t < timesteps[i - 1])),
        `${timesteps}`,
      );
      assert.ok(
        sigmas.every((sigma, i) => i === 0 || sigma < sigmas[i - 1]),
        `${sigmas}`,
      );
    }
  });

  test(`${name}: repeats bit for bit, stays finite and changes no input`, () => {
    const sampler = create();
    let state = start(sampler);
    for (let i = 0; i < STEPS; i++) {
      const output = network(sampler.scaleInput(state.x, i), sampler.timesteps[i]);
      const noise = gaussianNoise(5, noiseStream(0, i + 1), LENGTH);
      const before = structuredClone({ output, state, noise });
      const next = sampler.step(i, output, state, () => noise);
      assert.deepEqual({ output, state, noise }, before);
      assert.deepEqual(
        create().step(i, output, state, () => noise),
        next,
      );
      assert.ok([next.x, ...next.history].every((values) => values.length === LENGTH && values.every(Number.isFinite)));
      state = next;
    }
  });

  test(`${name}: a stored state resumes as if nothing had happened`, () => {
    const sampler = create();
    const whole = run(sampler, start(sampler), 0, STEPS);
    for (const stop of [1, 2, 3, STEPS - 1]) {
      const stored = structuredClone(run(sampler, start(sampler), 0, stop));
      assert.deepEqual(run(create(), stored, stop, STEPS), whole);
    }
  });

  test(`${name}: ends at the sample that the network knows`, () => {
    const known = gaussianNoise(3, 0, LENGTH).map((value) => Math.max(-1, Math.min(1, value / 2)));
    for (const steps of [1, 2, STEPS, 30]) {
      const sampler = create({ prediction_type: 'sample' }, steps);
      const { x } = run(sampler, start(sampler), 0, steps, () => known.slice());
      // The boundary condition of consistency models leaves a trace of the noisy sample.
      x.forEach((value, i) => {
        assert.ok(Math.abs(value - known[i]) < 1e-3, `${steps} steps: ${value}, known ${known[i]}`);
      });
    }
  });

  test(`${name}: what it predicts in the last step is where it ends`, () => {
    for (const prediction_type of ['epsilon', 'sample', 'flow_prediction']) {
      // Not every sampler knows every prediction.
      const flow = prediction_type === 'flow_prediction';
      if ((name.startsWith('Flow') && prediction_type === 'epsilon') || (flow && !/Flow|Multistep/.test(name)))
        continue;
      const sampler = create({ prediction_type, clip_sample: false, ...(flow && { use_flow_sigmas: true }) });
      const before = run(sampler, start(sampler), 0, STEPS - 1);
      const { x } = run(sampler, before, STEPS - 1, STEPS);
      const output = network(sampler.scaleInput(before.x, STEPS - 1), sampler.timesteps[STEPS - 1]);
      const predicted = sampler.predict(STEPS - 1, output, before.x);
      x.forEach((value, i) => {
        assert.ok(Math.abs(value - predicted[i]) < 1e-3, `${prediction_type}: ${value}, predicted ${predicted[i]}`);
      });
    }
  });

  test(`${name}: refuses steps and options that it cannot do`, () => {
    for (const steps of [0, -1, 1.5, 1001, Number.NaN, Number.POSITIVE_INFINITY]) {
      assert.throws(() => create({}, steps), refused('invalid-argument', /steps is .*expected an integer from 1 to/));
    }
    assert.throws(
      () => create({ prediction_type: 'velocity' }),
      refused('config-unsupported', /prediction_type = "velocity"/),
    );
    assert.throws(() => create({ num_train_timesteps: 1e9 }), refused('config-unsupported', /num_train_timesteps/));
    assert.throws(() => create({ num_train_timesteps: '1000' }), refused('config-unsupported', /num_train_timesteps/));
    create({ _diffusers_version: '0.40.0', _use_default_values: [], a_key_of_the_future: 1 });
  });

  test(`${name}: refuses an output of the wrong length`, () => {
    const sampler = create();
    const state = start(sampler);
    assert.throws(
      () => sampler.step(0, new Float32Array(LENGTH - 1), state, () => new Float32Array(LENGTH)),
      refused('invalid-argument', /output has 47 values, the sample 48/),
    );
  });
}

test('a class that is not in the list is named', () => {
  assert.throws(
    () => createSampler({ _class_name: 'DDIMSchedular' }, 4),
    refused('unknown-name', /did you mean "DDIMScheduler"/),
  );
  assert.throws(() => createSampler({}, 4), refused('config-unsupported', /_class_name/));
});
