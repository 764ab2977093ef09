/**
 * Euler steps along a rectified flow x_s = (1 - s) x + s noise (Liu et al. 2023; Esser et al. 2024), by the config of
 * diffusers' `FlowMatchEulerDiscreteScheduler`. Two keys are ours: `sigma_schedule: "linear"` takes the noise levels
 * from 1 to 0 in equal steps, and `prediction_type: "sample"` is for a network that returns x: v = (x_s - x) / s.
 */
import * as z from 'zod/mini';
import { checkLength, combine, predictedSample } from './prediction.ts';
import type { Sampler, SamplerFamily } from './sampler.ts';
import { betaOptions, checkSteps, flag, MAX_STEPS, off, parseSamplerConfig, unsupported } from './sampler-config.ts';
import { karrasSigmas, shiftSigma, stretchToTerminal } from './sigma-spacing.ts';
import { evenlySpaced } from './timestep-spacing.ts';

const NAME = 'FlowMatchEulerDiscreteScheduler';

const options = {
  num_train_timesteps: betaOptions.num_train_timesteps,
  shift: z._default(z.number().check(z.positive()), 1),
  shift_terminal: z._default(z.nullable(z.number().check(z.minimum(0), z.lt(1))), null),
  use_karras_sigmas: flag,
  sigma_min: z._default(z.nullable(z.number().check(z.positive())), null),
  sigma_max: z._default(z.nullable(z.number().check(z.positive())), null),
  sigma_schedule: z.optional(z.literal('linear')),
  prediction_type: z.pipe(
    z._default(z.literal(['flow', 'flow_prediction', 'sample']), 'flow'),
    z.transform((type) => (type === 'sample' ? 'sample' : 'flow')),
  ),
  use_dynamic_shifting: off,
  invert_sigmas: off,
  use_exponential_sigmas: off,
  use_beta_sigmas: off,
  stochastic_sampling: off,
};

function create(raw: Readonly<Record<string, unknown>>, steps: number): Sampler {
  const config = parseSamplerConfig(NAME, options, raw);
  checkSteps(NAME, steps, MAX_STEPS);
  const trained = config.num_train_timesteps;
  const sigmas = noiseLevels(config, steps).map(Math.fround);

  return {
    timesteps: sigmas.slice(0, -1).map((sigma) => Math.fround(sigma * trained)),
    sigmas,
    initNoiseSigma: 1,
    scaleInput: (x) => x,
    predict: (i, output, x) => predictedSample(config.prediction_type, output, x, 1 - sigmas[i], sigmas[i]),
    step(i, output, { x }) {
      checkLength("the network's output", output, x);
      const move = sigmas[i + 1] - sigmas[i];
      const ratio = move / sigmas[i];
      const next =
        config.prediction_type === 'flow' ? combine(1, x, move, output) : combine(1 + ratio, x, -ratio, output);
      return { x: next, history: [] };
    },
  };
}

/** steps + 1 levels, the last 0. */
function noiseLevels(config: z.output<z.ZodMiniObject<typeof options>>, steps: number): number[] {
  const trained = config.num_train_timesteps;
  if (config.sigma_schedule === 'linear') {
    if (config.shift !== 1 || config.shift_terminal !== null || config.use_karras_sigmas) {
      throw unsupported(
        NAME,
        'sigma_schedule = "linear" leaves no room for shift, shift_terminal or use_karras_sigmas',
      );
    }
    return evenlySpaced(1, 0, steps + 1);
  }
  // The ends are shifted when the schedule is laid out, and all levels once more: so does diffusers.
  const most = Math.fround(shiftSigma(1, config.shift));
  const least = Math.fround(shiftSigma(Math.fround(1 / trained), config.shift));
  let sigmas = evenlySpaced(most * trained, least * trained, steps).map((t) => shiftSigma(t / trained, config.shift));
  if (config.shift_terminal) {
    if (steps < 2) throw unsupported(NAME, `shift_terminal = ${config.shift_terminal} needs 2 steps or more`);
    sigmas = stretchToTerminal(sigmas, config.shift_terminal);
  }
  if (config.use_karras_sigmas) {
    sigmas = karrasSigmas(config.sigma_max ?? sigmas[0], config.sigma_min ?? sigmas[steps - 1], steps);
  }
  return [...sigmas, 0];
}

export const flowMatchEuler: SamplerFamily = { name: NAME, create };
