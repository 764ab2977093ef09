/** LCM against its equations written out plainly, with noise that the test chooses. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { gaussianNoise } from '../noise.ts';
import { createSampler } from './index.ts';
import { alphasCumprod } from './noise-schedule.ts';
import type { SamplerState } from './sampler.ts';
import { betaOptions, parseSamplerConfig } from './sampler-config.ts';

const LENGTH = 32;
const betas = { beta_start: 0.00085, beta_end: 0.012, beta_schedule: 'scaled_linear' };
const alphas = alphasCumprod('test', parseSamplerConfig('test', betaOptions, betas));
const config = { _class_name: 'LCMScheduler' };

function network(x: Float32Array, t: number): Float32Array {
  return x.map((value) => 0.3 * value + 0.1 * Math.sin(3 * value) + (0.1 * t) / 1000);
}

test('timesteps are those of the distillation', () => {
  assert.deepEqual(createSampler(config, 4).timesteps, [999, 759, 499, 259]);
  assert.deepEqual(createSampler(config, 1).timesteps, [999]);
  assert.deepEqual(createSampler({ ...config, original_inference_steps: 100 }, 3).timesteps, [999, 669, 339]);
  assert.equal(createSampler(config, 50).timesteps[49], 19);
});

for (const type of ['epsilon', 'v_prediction', 'sample']) {
  test(`follows the equations, ${type}`, () => {
    const steps = 4;
    const sampler = createSampler(
      { ...config, prediction_type: type, clip_sample: true, clip_sample_range: 0.8 },
      steps,
    );
    let state: SamplerState = { x: gaussianNoise(1, 0, LENGTH), history: [] };
    let x = Array.from(state.x);
    for (let i = 0; i < steps; i++) {
      const t = sampler.timesteps[i];
      const output = network(state.x, t);
      const fresh = gaussianNoise(1, i + 1, LENGTH);
      let drawn = 0;
      state = sampler.step(i, output, state, () => {
        drawn++;
        return fresh;
      });
      assert.equal(drawn, i === steps - 1 ? 0 : 1);

      const alpha = Math.sqrt(alphas[t]);
      const sigma = Math.sqrt(1 - alphas[t]);
      const out = network(Float32Array.from(x), t);
      const skip = 0.25 / ((10 * t) ** 2 + 0.25);
      const use = (10 * t) / Math.sqrt((10 * t) ** 2 + 0.25);
      x = x.map((value, j) => {
        const predicted =
          type === 'epsilon'
            ? (value - sigma * out[j]) / alpha
            : type === 'sample'
              ? out[j]
              : alpha * value - sigma * out[j];
        const denoised = use * Math.max(-0.8, Math.min(0.8, predicted)) + skip * value;
        if (i === steps - 1) return denoised;
        const next = alphas[sampler.timesteps[i + 1]];
        return Math.sqrt(next) * denoised + Math.sqrt(1 - next) * fresh[j];
      });
      state.x.forEach((value, j) => {
        assert.ok(Math.abs(value - x[j]) < 2e-6, `step ${i}: ${value}, expected ${x[j]}`);
      });
    }
  });
}

test('one step with the exact noise gives the sample, within the boundary condition', () => {
  const sampler = createSampler(config, 1);
  const sample = gaussianNoise(2, 0, LENGTH);
  const noise = gaussianNoise(2, 1, LENGTH);
  const alpha = alphas[999];
  const x = sample.map((value, j) => Math.sqrt(alpha) * value + Math.sqrt(1 - alpha) * noise[j]);
  const state = sampler.step(0, noise, { x, history: [] }, () => assert.fail('draws no noise'));
  state.x.forEach((value, j) => {
    assert.ok(Math.abs(value - sample[j]) < 1e-5, `${value}, expected ${sample[j]}`);
  });
});
