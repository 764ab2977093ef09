/**
 * Trajectories of diffusers 0.40's schedulers, recorded with the model 0.3 x + 0.1 sin(3x) + 0.1 t/1000 applied to
 * the scaled input: every state, timestep and sigma has to come out again.
 */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { parseSafetensors, toFloat32 } from '../safetensors.ts';
import { createSampler } from './index.ts';
import type { SamplerState } from './sampler.ts';

const folder = new URL('../../fixtures/schedulers/', import.meta.url);
/** Of the state's norm; float32 against our float64 coefficients leaves less than this. */
const TOLERANCE = 1e-6;

function model(x: Float32Array, t: number): Float32Array {
  return x.map((value) => 0.3 * value + 0.1 * Math.sin(3 * value) + (0.1 * t) / 1000);
}

function relativeError(got: ArrayLike<number>, expected: ArrayLike<number>): number {
  let difference = 0;
  let norm = 0;
  for (let i = 0; i < expected.length; i++) {
    difference += (got[i] - expected[i]) ** 2;
    norm += expected[i] ** 2;
  }
  return Math.sqrt(difference / norm);
}

const files = readdirSync(folder)
  .filter((file) => file.endsWith('.safetensors'))
  .sort();

test('there are 24 recorded trajectories', () => {
  assert.equal(files.length, 24);
});

for (const file of files) {
  test(`reproduces ${file.replace('.safetensors', '')}`, (context) => {
    const { metadata, tensors } = parseSafetensors(readFileSync(new URL(file, folder)));
    const read = (name: string) => toFloat32(tensors.get(name)!);
    // Python writes an infinite bound as -Infinity, which JSON does not know.
    const config = JSON.parse(metadata.config.replace('-Infinity', '-1e999'));
    const steps = Number(metadata.steps);
    const sampler = createSampler({ ...config, _class_name: metadata.class }, steps);
    assert.deepEqual(sampler.timesteps, Array.from(read('timesteps')));
    if (tensors.has('sigmas')) {
      const expected = read('sigmas');
      assert.equal(sampler.sigmas.length, expected.length);
      sampler.sigmas.forEach((sigma, i) => {
        assert.ok(Math.abs(sigma - expected[i]) <= 2e-7 * expected[i], `sigma ${i}: ${sigma}, expected ${expected[i]}`);
      });
    } else assert.deepEqual(sampler.sigmas, []);

    const trajectory = read('trajectory');
    let state: SamplerState = { x: read('x0'), history: [] };
    const size = state.x.length;
    let worst = 0;
    for (let i = 0; i < steps; i++) {
      const output = model(sampler.scaleInput(state.x, i), sampler.timesteps[i]);
      state = sampler.step(i, output, state, () => assert.fail('draws no noise'));
      const error = relativeError(state.x, trajectory.subarray(i * size, (i + 1) * size));
      worst = Math.max(worst, error);
      assert.ok(error <= TOLERANCE, `state ${i}: relative error ${error}`);
    }
    context.diagnostic(`largest relative error ${worst.toExponential(1)}`);
  });
}
