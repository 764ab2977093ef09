/**
 * Euler steps in sigma (Karras et al. 2022, algorithm 2 without churn) over x_sigma = x + sigma noise, by the config
 * of diffusers' `EulerDiscreteScheduler`. The network sees x / sqrt(sigma^2 + 1), which has the variance it was
 * trained with.
 */
import * as z from 'zod/mini';
import { finiteSigmas } from './noise-schedule.ts';
import { combine, predictedSample } from './prediction.ts';
import type { Sampler, SamplerFamily } from './sampler.ts';
import {
  betaOptions,
  checkSteps,
  finalSigmasType,
  flag,
  MAX_STEPS,
  off,
  parseSamplerConfig,
  stepsOffset,
  timestepSpacing,
  unsupported,
} from './sampler-config.ts';
import { interpolate, karrasSigmas, logarithms, sigmaToTimestep } from './sigma-spacing.ts';
import { leadingTimesteps, linspaceTimesteps, trailingTimesteps } from './timestep-spacing.ts';

const NAME = 'EulerDiscreteScheduler';

const options = {
  ...betaOptions,
  prediction_type: z.pipe(
    z._default(z.literal(['epsilon', 'sample', 'original_sample', 'v_prediction']), 'epsilon'),
    z.transform((type) => (type === 'original_sample' ? 'sample' : type)),
  ),
  interpolation_type: z._default(z.literal('linear'), 'linear'),
  use_karras_sigmas: flag,
  sigma_min: z._default(z.nullable(z.number().check(z.positive())), null),
  sigma_max: z._default(z.nullable(z.number().check(z.positive())), null),
  timestep_spacing: z._default(timestepSpacing, 'linspace'),
  timestep_type: z._default(z.literal(['discrete', 'continuous']), 'discrete'),
  steps_offset: stepsOffset,
  final_sigmas_type: finalSigmasType,
  use_exponential_sigmas: off,
  use_beta_sigmas: off,
};

function create(raw: Readonly<Record<string, unknown>>, steps: number): Sampler {
  const config = parseSamplerConfig(NAME, options, raw);
  const trained = config.num_train_timesteps;
  checkSteps(NAME, steps, config.timestep_spacing === 'linspace' ? MAX_STEPS : Math.min(MAX_STEPS, trained));
  // Without v_prediction the timestep type changes nothing.
  if (config.timestep_type === 'continuous' && config.prediction_type === 'v_prediction') {
    throw unsupported(NAME, 'timestep_type = "continuous" with prediction_type = "v_prediction" is not implemented');
  }
  const table = finiteSigmas(NAME, config);
  let timesteps = (
    config.timestep_spacing === 'linspace'
      ? linspaceTimesteps(trained, steps)
      : config.timestep_spacing === 'leading'
        ? leadingTimesteps(Math.floor(trained / steps), steps, config.steps_offset)
        : trailingTimesteps(trained, steps)
  ).map(Math.fround);
  let levels = timesteps.map((t) => interpolate(table, t));
  if (config.use_karras_sigmas) {
    levels = karrasSigmas(config.sigma_max ?? levels[0], config.sigma_min ?? levels[steps - 1], steps);
    const logTable = logarithms(table);
    timesteps = levels.map((sigma) => Math.fround(sigmaToTimestep(sigma, logTable)));
  }
  const sigmas = [...levels, config.final_sigmas_type === 'sigma_min' ? table[0] : 0].map(Math.fround);
  const largest = sigmas.reduce((a, b) => Math.max(a, b));

  function predict(i: number, output: Float32Array, x: Float32Array): Float32Array {
    const scale = Math.sqrt(sigmas[i] * sigmas[i] + 1);
    // A v-network speaks of the scaled sample, in which alpha is 1 / scale and the noise sigma / scale.
    return config.prediction_type === 'v_prediction'
      ? combine(1 / (scale * scale), x, -sigmas[i] / scale, output)
      : predictedSample(config.prediction_type, output, x, 1, sigmas[i]);
  }

  return {
    timesteps,
    predict,
    sigmas,
    initNoiseSigma: config.timestep_spacing === 'leading' ? Math.sqrt(largest * largest + 1) : largest,
    scaleInput(x, i) {
      const scale = Math.sqrt(sigmas[i] * sigmas[i] + 1);
      return x.map((value) => value / scale);
    },
    step(i, output, { x }) {
      const ratio = (sigmas[i + 1] - sigmas[i]) / sigmas[i];
      return { x: combine(1 + ratio, x, -ratio, predict(i, output, x)), history: [] };
    },
  };
}

export const eulerDiscrete: SamplerFamily = { name: NAME, create };
