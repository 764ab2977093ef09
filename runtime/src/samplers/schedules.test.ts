/** Timesteps, noise levels and options beyond those of the recorded trajectories. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isEdgeDitError } from '../errors.ts';
import { createSampler } from './index.ts';
import { alphasCumprod } from './noise-schedule.ts';
import { clip, predictedNoise, predictedSample, threshold } from './prediction.ts';
import type { SamplerState } from './sampler.ts';
import { betaOptions, parseSamplerConfig } from './sampler-config.ts';

const schedule = (options: Record<string, unknown>) =>
  alphasCumprod('test', parseSamplerConfig('test', betaOptions, options));
const close = (got: number, expected: number, tolerance = 1e-6) =>
  assert.ok(Math.abs(got - expected) <= tolerance * Math.abs(expected), `${got}, expected ${expected}`);
const refuses = (config: Record<string, unknown>, pattern: RegExp, steps = 8, code = 'config-unsupported') =>
  assert.throws(
    () => createSampler(config, steps),
    (error) => isEdgeDitError(error) && error.code === code && pattern.test(error.message),
    JSON.stringify(config),
  );
const flowNames = { _class_name: 'FlowMatchEulerDiscreteScheduler' };
const dpm = { _class_name: 'DPMSolverMultistepScheduler' };
const unipc = { _class_name: 'UniPCMultistepScheduler' };
const euler = { _class_name: 'EulerDiscreteScheduler' };
const ddim = { _class_name: 'DDIMScheduler' };

test('beta schedules follow their formulas', () => {
  const linear = schedule({});
  let product = 1;
  for (let i = 0; i < 1000; i++) {
    product *= 1 - (1e-4 + ((0.02 - 1e-4) * i) / 999);
    close(linear[i], product, 1e-5);
  }
  const cosine = schedule({ beta_schedule: 'squaredcos_cap_v2' });
  const at = (t: number) => Math.cos((((t + 0.008) / 1.008) * Math.PI) / 2) ** 2;
  for (const i of [0, 100, 500, 998]) close(cosine[i], at((i + 1) / 1000) / at(0), 1e-4);
  assert.ok(cosine[999] > 0 && cosine[999] < 1e-8);
  const trained = schedule({ num_train_timesteps: 3, trained_betas: [0.5, 0.25, 0.5] });
  assert.deepEqual(Array.from(trained), [0.5, 0.375, 0.1875]);
  refuses({ ...euler, beta_start: 0.9, beta_end: 0.99 }, /leave no signal from timestep/);
  refuses({ ...ddim, beta_start: 0.9, beta_end: 0.99 }, /only noise/);
  refuses({ ...ddim, trained_betas: [0.5] }, /trained_betas has 1 values, num_train_timesteps is 1000/);
});

test('zero terminal SNR leaves no signal at the end and the first timestep as it is', () => {
  const plain = schedule({});
  const rescaled = schedule({ rescale_betas_zero_snr: true });
  assert.equal(rescaled[999], 0);
  close(rescaled[0], plain[0]);
  const root = (i: number) => Math.sqrt(plain[i]);
  for (const i of [10, 500, 900]) {
    close(Math.sqrt(rescaled[i]), ((root(i) - root(999)) * root(0)) / (root(0) - root(999)), 1e-4);
  }
  const trailing = { timestep_spacing: 'trailing', rescale_betas_zero_snr: true };
  refuses({ ...ddim, ...trailing }, /prediction_type = "epsilon"/);
  assert.equal(createSampler({ ...ddim, ...trailing, prediction_type: 'v_prediction' }, 8).timesteps[0], 999);
  assert.equal(createSampler({ ...euler, ...trailing }, 8).sigmas[0], Math.fround(Math.sqrt(2 ** 24 - 1)));
});

test('DDIM: the timesteps and the clipping of facebookresearch/DiT', () => {
  const config = {
    ...ddim,
    beta_start: 1e-4,
    beta_end: 0.02,
    beta_schedule: 'linear',
    prediction_type: 'epsilon',
    clip_sample: true,
  };
  const sampler = createSampler(config, 20);
  assert.deepEqual(
    sampler.timesteps,
    Array.from({ length: 20 }, (_, i) => 950 - 50 * i),
  );
  const alphas = schedule({});
  const x = Float32Array.of(0.5, 1.5, -3);
  const output = Float32Array.of(0.1, 0.2, -0.4);
  const run = (i: number, options = {}) =>
    createSampler({ ...config, ...options }, 20).step(i, output, { x, history: [] }, () =>
      assert.fail('draws no noise'),
    ).x;
  const expected = (i: number, again: boolean) =>
    Array.from(x, (value, j) => {
      const a = alphas[950 - 50 * i];
      const next = i === 19 ? 1 : alphas[900 - 50 * i];
      const sample = Math.max(-1, Math.min(1, (value - Math.sqrt(1 - a) * output[j]) / Math.sqrt(a)));
      const noise = again ? (value - Math.sqrt(a) * sample) / Math.sqrt(1 - a) : output[j];
      return Math.sqrt(next) * sample + Math.sqrt(1 - next) * noise;
    });
  for (const i of [0, 10, 19]) {
    run(i).forEach((value, j) => {
      close(value, expected(i, true)[j], 1e-5);
    });
    run(i, { use_clipped_model_output: false }).forEach((value, j) => {
      close(value, expected(i, false)[j], 1e-5);
    });
  }
  assert.deepEqual(createSampler({ ...ddim, timestep_spacing: 'linspace' }, 4).timesteps, [999, 666, 333, 0]);
  refuses({ ...ddim, steps_offset: 900 }, /steps_offset = 900/);
  refuses({ ...ddim, num_train_timesteps: 100 }, /from 1 to 100/, 101, 'invalid-argument');
  refuses({ ...ddim, eta: 0.5 }, /eta = 0.5/);
});

test('spacings of the multistep solvers', () => {
  const at = (config: object, steps: number) => createSampler({ ...dpm, ...config }, steps).timesteps;
  assert.deepEqual(at({ timestep_spacing: 'leading', steps_offset: 1 }, 4), [801, 601, 401, 201]);
  assert.deepEqual(at({ timestep_spacing: 'trailing' }, 4), [999, 749, 499, 249]);
  // numpy's floating-point steps: 937.5 less a rounding error goes down, an exact 937.5 to the even neighbour.
  assert.equal(at({ timestep_spacing: 'trailing' }, 16)[1], 937);
  assert.equal(at({ timestep_spacing: 'trailing' }, 48)[3], 936);
  const cosine = { beta_schedule: 'squaredcos_cap_v2' };
  const first = at({ ...cosine, lambda_min_clipped: -5.1 }, 4)[0];
  const alpha = schedule(cosine);
  const lambda = (t: number) => 0.5 * Math.log(alpha[t] / (1 - alpha[t]));
  assert.ok(lambda(first) >= -5.1 && lambda(first + 1) < -5.1, `first timestep ${first}`);
  assert.equal(at({ ...cosine, lambda_min_clipped: '-Infinity' }, 4)[0], 999);
  refuses(dpm, /same noise level/, 1000, 'invalid-argument');
  refuses({ ...unipc, timestep_spacing: 'leading' }, /same noise level/, 1000, 'invalid-argument');
});

test('flow levels', () => {
  const config = { use_flow_sigmas: true, prediction_type: 'flow_prediction', flow_shift: 3 };
  const shifted = (sigma: number) => (3 * sigma) / (1 + 2 * sigma);
  const solver = createSampler({ ...dpm, ...config }, 4);
  [0.999, 0.74925, 0.4995, 0.24975].forEach((sigma, i) => {
    close(solver.sigmas[i], shifted(sigma));
  });
  assert.deepEqual(solver.timesteps, [999, 899, 749, 499]);
  const wan = createSampler({ ...unipc, ...config }, 4);
  assert.equal(wan.sigmas[0], Math.fround(1 - 1e-6));
  [0.75025, 0.5005, 0.25075].forEach((sigma, i) => {
    close(wan.sigmas[i + 1], shifted(sigma));
  });
  assert.deepEqual(wan.timesteps, [999, 900, 750, 500]);
  assert.equal(createSampler({ ...unipc, ...config, final_sigmas_type: 'sigma_min' }, 4).sigmas[4], wan.sigmas[3]);
  const terminal = createSampler({ ...unipc, ...config, shift_terminal: 0.1 }, 4);
  close(terminal.sigmas[3], 0.1);
  const both = createSampler({ ...unipc, ...config, use_karras_sigmas: true, sigma_max: 200, sigma_min: 0.01 }, 4);
  close(both.sigmas[0], 200 / 201);
  close(both.sigmas[3], 0.01 / 1.01);
  refuses({ ...dpm, prediction_type: 'flow_prediction' }, /without use_flow_sigmas/);
});

test('flow matching: linear levels, terminal and Karras spacing', () => {
  const linear = createSampler({ ...flowNames, sigma_schedule: 'linear', prediction_type: 'sample' }, 20);
  linear.sigmas.forEach((sigma, i) => {
    assert.equal(sigma, i === 20 ? 0 : Math.fround(1 - 0.05 * i));
  });
  linear.timesteps.forEach((t, i) => {
    close(t, 1000 - 50 * i);
  });
  const stretched = createSampler({ ...flowNames, shift: 3, shift_terminal: 0.1 }, 5);
  assert.equal(stretched.sigmas[0], 1);
  close(stretched.sigmas[4], 0.1);
  const karras = createSampler({ ...flowNames, use_karras_sigmas: true }, 5);
  close(karras.sigmas[2], ((1 + 0.001 ** (1 / 7)) / 2) ** 7);
  refuses({ ...flowNames, sigma_schedule: 'linear', shift: 3 }, /no room for shift/);
  refuses({ ...flowNames, shift_terminal: 0.1 }, /2 steps or more/, 1);
});

test('Euler: spacings, Karras levels and the first sample', () => {
  const leading = createSampler({ ...euler, timestep_spacing: 'leading', steps_offset: 1 }, 4);
  assert.deepEqual(leading.timesteps, [751, 501, 251, 1]);
  close(leading.initNoiseSigma, Math.sqrt(leading.sigmas[0] ** 2 + 1));
  const karras = createSampler({ ...euler, use_karras_sigmas: true, sigma_min: 0.1, sigma_max: 10 }, 3);
  close(karras.sigmas[0], 10);
  close(karras.sigmas[1], ((10 ** (1 / 7) + 0.1 ** (1 / 7)) / 2) ** 7);
  close(karras.sigmas[2], 0.1);
  close(karras.initNoiseSigma, 10);
  const last = createSampler({ ...euler, final_sigmas_type: 'sigma_min' }, 4);
  assert.equal(last.sigmas[4], last.sigmas[3]);
  refuses({ ...euler, timestep_type: 'continuous', prediction_type: 'v_prediction' }, /timestep_type/);
});

test('options that are not implemented are refused by name', () => {
  for (const key of ['use_exponential_sigmas', 'use_beta_sigmas']) {
    for (const family of [dpm, unipc, euler, flowNames])
      refuses({ ...family, [key]: true }, new RegExp(`${key} = true`));
  }
  for (const family of [dpm, unipc, flowNames])
    refuses({ ...family, use_dynamic_shifting: true }, /use_dynamic_shifting/);
  for (const key of ['invert_sigmas', 'stochastic_sampling']) refuses({ ...flowNames, [key]: true }, new RegExp(key));
  for (const type of ['dpmsolver', 'sde-dpmsolver++']) refuses({ ...dpm, algorithm_type: type }, /algorithm_type/);
  refuses({ ...dpm, use_lu_lambdas: true }, /use_lu_lambdas/);
  refuses({ ...dpm, solver_order: 4 }, /solver_order = 4/);
  refuses({ ...unipc, solver_p: {} }, /solver_p/);
  refuses({ ...unipc, predict_x0: false }, /needs predict_x0/);
  refuses({ ...unipc, lower_order_final: false }, /lower_order_final/);
  refuses({ ...euler, interpolation_type: 'log_linear' }, /interpolation_type/);
  refuses({ ...ddim, prediction_type: 'flow_prediction' }, /prediction_type/);
  refuses({ _class_name: 'LCMScheduler' }, /from 1 to 50/, 51, 'invalid-argument');
  refuses({ _class_name: 'LCMScheduler', original_inference_steps: 2000 }, /original_inference_steps = 2000/);
});

test('UniPC: the corrector is left out after the steps that the config names', () => {
  const sampler = createSampler({ ...unipc, disable_corrector: [1, 3] }, 6);
  let state: SamplerState = { x: Float32Array.of(0.5, -1.5, 2), history: [] };
  const corrected: boolean[] = [];
  for (let i = 0; i < 6; i++) {
    const before = state.x;
    const output = before.map((value) => 0.4 * value + 0.1 * i);
    state = sampler.step(i, output, state, () => assert.fail('draws no noise'));
    // The last entry is the sample that the prediction started from.
    corrected.push(!state.history[state.history.length - 1].every((value, j) => value === before[j]));
  }
  assert.deepEqual(corrected, [false, true, false, true, false, true]);
});

test('the third order of DPM-Solver++ follows its equations', () => {
  const config = { ...dpm, solver_order: 3, prediction_type: 'sample' };
  const sampler = createSampler(config, 20);
  const level = (i: number) => {
    const alpha = 1 / Math.sqrt(1 + sampler.sigmas[i] ** 2);
    return { alpha, sigma: sampler.sigmas[i] * alpha, lambda: -Math.log(sampler.sigmas[i]) };
  };
  const i = 9;
  const [x, m0, m1, m2] = [0.7, 0.5, 0.3, -0.2];
  const of = (value: number) => Float32Array.of(value);
  const next = sampler.step(i, of(m0), { x: of(x), history: [of(m1), of(m2)] }, () => assert.fail('draws no noise'));
  const h = level(i + 1).lambda - level(i).lambda;
  const r0 = (level(i).lambda - level(i - 1).lambda) / h;
  const r1 = (level(i - 1).lambda - level(i - 2).lambda) / h;
  const [near, far] = [(m0 - m1) / r0, (m1 - m2) / r1];
  const d1 = near + (r0 / (r0 + r1)) * (near - far);
  const d2 = (near - far) / (r0 + r1);
  const e = Math.exp(-h) - 1;
  const { alpha, sigma } = level(i + 1);
  const expected =
    (sigma / level(i).sigma) * x - alpha * e * m0 + alpha * (e / h + 1) * d1 - alpha * ((e + h) / h ** 2 - 0.5) * d2;
  close(next.x[0], expected);
  assert.deepEqual(next.history, [of(m0), of(m1)]);
});

test('predictions say the same in every parameterisation', () => {
  const [alpha, sigma] = [0.8, 0.6];
  const sample = Float32Array.of(0.25, -1, 3);
  const noise = Float32Array.of(1, 0.5, -0.75);
  const x = sample.map((value, i) => alpha * value + sigma * noise[i]);
  const outputs = {
    epsilon: noise,
    sample,
    v_prediction: noise.map((value, i) => alpha * value - sigma * sample[i]),
  } as const;
  for (const type of ['epsilon', 'sample', 'v_prediction'] as const) {
    predictedSample(type, outputs[type], x, alpha, sigma).forEach((value, i) => {
      close(value, sample[i]);
    });
    predictedNoise(type, outputs[type], x, alpha, sigma).forEach((value, i) => {
      close(value, noise[i]);
    });
  }
  const flow = noise.map((value, i) => value - sample[i]);
  const onFlow = sample.map((value, i) => 0.4 * value + 0.6 * noise[i]);
  predictedSample('flow', flow, onFlow, 0.4, 0.6).forEach((value, i) => {
    close(value, sample[i]);
  });
});

test('clipping and dynamic thresholding', () => {
  assert.deepEqual(Array.from(clip(Float32Array.of(-3, 0.5, 3), 2)), [-2, 0.5, 2]);
  const options = { thresholding: true, dynamic_thresholding_ratio: 0.5, sample_max_value: 3 };
  // Medians of the magnitudes: 2 and 0.2 (raised to 1); the third item's 8 is lowered to 3.
  const sample = Float32Array.of(1, -2, 4, 0.1, 0.2, 0.3, 8, 7, -9);
  const expected = Float32Array.of(0.5, -1, 1, 0.1, 0.2, 0.3, 1, 1, -1);
  assert.deepEqual(threshold(sample, options, 3), expected);
  // Between two values the quantile is interpolated.
  assert.deepEqual(
    threshold(Float32Array.of(1, 3), { ...options, dynamic_thresholding_ratio: 0.25 }, 1),
    Float32Array.of(1 / 1.5, 1),
  );
  assert.throws(
    () => threshold(sample, options, 2),
    (error) => isEdgeDitError(error, 'invalid-argument'),
  );
  const items = createSampler({ ...ddim, ...options, prediction_type: 'sample' }, 1, 3);
  const state = { x: new Float32Array(9), history: [] };
  assert.deepEqual(items.step(0, sample, state, () => assert.fail('draws no noise')).x, expected);
});
