/**
 * Multistep consistency sampling of latent consistency models (Luo et al. 2023, algorithm 3), by the config of
 * diffusers' `LCMScheduler`. Each step predicts the sample; all but the last add fresh noise to it.
 */
import * as z from 'zod/mini';
import { alphasCumprod } from './noise-schedule.ts';
import { checkLength, clip, combine, predictedSample, threshold, vpPrediction } from './prediction.ts';
import type { Sampler, SamplerFamily } from './sampler.ts';
import {
  betaOptions,
  betaRange,
  checkSteps,
  clipOptions,
  MAX_STEPS,
  parseSamplerConfig,
  unsupported,
} from './sampler-config.ts';

const NAME = 'LCMScheduler';
/** Standard deviation that the boundary condition assumes of the data. */
const SIGMA_DATA = 0.5;

/** `set_alpha_to_one`, `steps_offset` and `timestep_spacing` change nothing: timesteps are those of the distillation. */
const options = {
  ...betaOptions,
  ...clipOptions,
  ...betaRange(0.00085, 0.012, 'scaled_linear'),
  original_inference_steps: z._default(z.int().check(z.minimum(1)), 50),
  clip_sample: z._default(z.boolean(), false),
  prediction_type: vpPrediction,
  timestep_scaling: z._default(z.number().check(z.positive()), 10),
};

function create(raw: Readonly<Record<string, unknown>>, steps: number, items: number): Sampler {
  const config = parseSamplerConfig(NAME, options, raw);
  const original = config.original_inference_steps;
  if (original > config.num_train_timesteps) {
    throw unsupported(
      NAME,
      `original_inference_steps = ${original} is beyond num_train_timesteps = ${config.num_train_timesteps}`,
    );
  }
  checkSteps(NAME, steps, Math.min(MAX_STEPS, original));
  const alphas = alphasCumprod(NAME, config);
  const stride = Math.floor(config.num_train_timesteps / original);
  // Of the distillation's timesteps (multiples of the stride, less 1), noisiest first, `steps` at equal distances.
  const timesteps = Array.from(
    { length: steps },
    (_, i) => (original - Math.floor(i * (original / steps))) * stride - 1,
  );
  if (alphas[timesteps[0]] === 0 && config.prediction_type === 'epsilon') {
    throw unsupported(NAME, 'prediction_type = "epsilon" says nothing of the sample where the betas leave only noise');
  }

  function predict(i: number, output: Float32Array, x: Float32Array): Float32Array {
    const alpha = alphas[timesteps[i]];
    return predictedSample(config.prediction_type, output, x, Math.sqrt(alpha), Math.sqrt(1 - alpha));
  }

  return {
    timesteps,
    sigmas: [],
    initNoiseSigma: 1,
    scaleInput: (x) => x,
    predict,
    step(i, output, { x }, noise) {
      let sample = predict(i, output, x);
      if (config.thresholding) sample = threshold(sample, config, items);
      else if (config.clip_sample) sample = clip(sample, config.clip_sample_range);
      const time = timesteps[i] * config.timestep_scaling;
      const variance = time * time + SIGMA_DATA * SIGMA_DATA;
      const denoised = combine(time / Math.sqrt(variance), sample, (SIGMA_DATA * SIGMA_DATA) / variance, x);
      if (i === steps - 1) return { x: denoised, history: [] };
      const fresh = noise();
      checkLength('the noise', fresh, x);
      const alphaNext = alphas[timesteps[i + 1]];
      return { x: combine(Math.sqrt(alphaNext), denoised, Math.sqrt(1 - alphaNext), fresh), history: [] };
    },
  };
}

export const lcm: SamplerFamily = { name: NAME, create };
