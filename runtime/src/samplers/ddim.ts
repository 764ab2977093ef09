/**
 * DDIM without added noise (Song et al. 2021, equation 12, eta 0), by the config of diffusers' `DDIMScheduler`.
 * When clipping or thresholding changes the predicted sample, the noise is computed again from the changed sample, so
 * that the two still add up to x_t, as Dhariwal and Nichol do. diffusers leaves that to its caller: the config key
 * `use_clipped_model_output: false`, ours, turns it off.
 */
import * as z from 'zod/mini';
import { alphasCumprod } from './noise-schedule.ts';
import { clip, combine, predictedNoise, predictedSample, threshold, vpPrediction } from './prediction.ts';
import type { Sampler, SamplerFamily } from './sampler.ts';
import {
  betaOptions,
  checkSteps,
  clipOptions,
  MAX_STEPS,
  parseSamplerConfig,
  stepsOffset,
  timestepSpacing,
  unsupported,
} from './sampler-config.ts';
import { leadingTimesteps, linspaceTimesteps, roundHalfEven, trailingTimesteps } from './timestep-spacing.ts';

const NAME = 'DDIMScheduler';

const options = {
  ...betaOptions,
  ...clipOptions,
  clip_sample: z._default(z.boolean(), true),
  set_alpha_to_one: z._default(z.boolean(), true),
  steps_offset: stepsOffset,
  prediction_type: vpPrediction,
  timestep_spacing: z._default(timestepSpacing, 'leading'),
  use_clipped_model_output: z._default(z.boolean(), true),
  eta: z._default(z.literal(0), 0),
};

function create(raw: Readonly<Record<string, unknown>>, steps: number, items: number): Sampler {
  const config = parseSamplerConfig(NAME, options, raw);
  const trained = config.num_train_timesteps;
  checkSteps(NAME, steps, Math.min(MAX_STEPS, trained));
  const alphas = alphasCumprod(NAME, config);
  const stride = Math.floor(trained / steps);
  const timesteps =
    config.timestep_spacing === 'linspace'
      ? linspaceTimesteps(trained, steps).map(roundHalfEven)
      : config.timestep_spacing === 'leading'
        ? leadingTimesteps(stride, steps, config.steps_offset)
        : trailingTimesteps(trained, steps);
  if (timesteps[0] >= trained) {
    throw unsupported(
      NAME,
      `steps_offset = ${config.steps_offset} makes the first of ${steps} steps timestep ${timesteps[0]} of ${trained}`,
    );
  }
  if (alphas[timesteps[0]] === 0 && config.prediction_type === 'epsilon') {
    throw unsupported(NAME, 'prediction_type = "epsilon" says nothing of the sample where the betas leave only noise');
  }
  const changed = config.thresholding || config.clip_sample;

  const levelOf = (i: number) => ({ a: Math.sqrt(alphas[timesteps[i]]), s: Math.sqrt(1 - alphas[timesteps[i]]) });
  function predict(i: number, output: Float32Array, x: Float32Array): Float32Array {
    const { a, s } = levelOf(i);
    return predictedSample(config.prediction_type, output, x, a, s);
  }

  return {
    timesteps,
    sigmas: [],
    initNoiseSigma: 1,
    scaleInput: (x) => x,
    predict,
    step(i, output, { x }) {
      const previous = timesteps[i] - stride;
      const alphaNext = previous >= 0 ? alphas[previous] : config.set_alpha_to_one ? 1 : alphas[0];
      const { a, s } = levelOf(i);
      let sample = predict(i, output, x);
      if (config.thresholding) sample = threshold(sample, config, items);
      else if (config.clip_sample) sample = clip(sample, config.clip_sample_range);
      const noise =
        changed && config.use_clipped_model_output
          ? predictedNoise('sample', sample, x, a, s)
          : predictedNoise(config.prediction_type, output, x, a, s);
      return { x: combine(Math.sqrt(alphaNext), sample, Math.sqrt(1 - alphaNext), noise), history: [] };
    },
  };
}

export const ddim: SamplerFamily = { name: NAME, create };
