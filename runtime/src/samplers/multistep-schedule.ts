/**
 * The timesteps and noise levels of the multistep solvers (DPM-Solver++, UniPC). In: a config's options and the
 * number of steps. Out: one timestep a step, one level more, strictly decreasing but for the last two: solvers divide
 * by their distances.
 */
import * as z from 'zod/mini';
import { EdgeDitError } from '../errors.ts';
import { log } from '../math.ts';
import { finiteSigmas } from './noise-schedule.ts';
import { anyPrediction } from './prediction.ts';
import {
  betaOptions,
  checkSteps,
  finalSigmasType,
  flag,
  MAX_STEPS,
  off,
  stepsOffset,
  thresholdOptions,
  timestepSpacing,
  unsupported,
} from './sampler-config.ts';
import { interpolate, karrasSigmas, logarithms, sigmaToTimestep } from './sigma-spacing.ts';
import { leadingTimesteps, linspaceWithoutZero, roundHalfEven, trailingTimesteps } from './timestep-spacing.ts';

export const multistepOptions = {
  ...betaOptions,
  ...thresholdOptions,
  solver_order: z._default(z.int().check(z.minimum(1), z.maximum(3)), 2),
  prediction_type: anyPrediction,
  lower_order_final: z._default(z.boolean(), true),
  use_karras_sigmas: flag,
  use_flow_sigmas: flag,
  flow_shift: z._default(z.nullable(z.number().check(z.positive())), 1),
  timestep_spacing: z._default(timestepSpacing, 'linspace'),
  steps_offset: stepsOffset,
  final_sigmas_type: finalSigmasType,
  use_exponential_sigmas: off,
  use_beta_sigmas: off,
  use_dynamic_shifting: off,
};

export type MultistepOptions = z.output<z.ZodMiniObject<typeof multistepOptions>>;

/** What one noise level means: x_t = alpha x_0 + sigma noise, lambda = ln(alpha / sigma). */
export interface NoiseLevel {
  readonly alpha: number;
  readonly sigma: number;
  readonly lambda: number;
}

export interface Levels {
  readonly timesteps: readonly number[];
  readonly sigmas: readonly number[];
}

/** The noise-to-signal ratio of each training timestep. @throws `config-unsupported` for options that contradict each other */
export function trainedLevels(name: string, config: MultistepOptions): Float32Array {
  if (config.prediction_type === 'flow' && !config.use_flow_sigmas) {
    throw unsupported(name, 'prediction_type = "flow_prediction" has no meaning without use_flow_sigmas');
  }
  return finiteSigmas(name, config);
}

/** Levels at timesteps spaced as the config asks, among the first `last` training timesteps. */
export function spacedLevels(
  name: string,
  config: MultistepOptions,
  steps: number,
  table: Float32Array,
  last: number,
): Levels {
  const trained = config.num_train_timesteps;
  const timesteps =
    config.timestep_spacing === 'linspace'
      ? linspaceWithoutZero(last, steps).map(roundHalfEven)
      : config.timestep_spacing === 'leading'
        ? leadingTimesteps(Math.floor(last / (steps + 1)), steps, config.steps_offset, 1)
        : trailingTimesteps(trained, steps, last);
  if (timesteps[steps - 1] < 0) {
    throw new EdgeDitError('invalid-argument', `${name}: ${steps} steps do not fit into ${last} timesteps; use fewer`);
  }
  return { timesteps, sigmas: timesteps.map((t) => interpolate(table, t)) };
}

/** Karras' levels and the training timesteps nearest to them (`whole`: the last below them). */
export function karrasLevels(steps: number, table: Float32Array, max: number, min: number, whole: boolean): Levels {
  const sigmas = karrasSigmas(max, min, steps);
  const logTable = logarithms(table);
  const timesteps = sigmas.map((sigma) => sigmaToTimestep(sigma, logTable));
  return { sigmas, timesteps: timesteps.map(whole ? Math.floor : roundHalfEven) };
}

/** Flow levels stand for themselves: the timestep is the level in training timesteps, without its fraction. */
export function flowLevels(sigmas: readonly number[], trained: number): Levels {
  return { sigmas, timesteps: sigmas.map((sigma) => Math.floor(sigma * trained)) };
}

/**
 * Rounds the levels to float32, adds the last and says what each means.
 * @throws `invalid-argument` when two levels coincide that a solver would have to tell apart
 */
export function finishLevels(
  name: string,
  config: MultistepOptions,
  { timesteps, sigmas }: Levels,
  last: number,
): { timesteps: readonly number[]; sigmas: readonly number[]; levels: readonly NoiseLevel[] } {
  const rounded = [...sigmas, last].map(Math.fround);
  const steps = timesteps.length;
  for (let i = 1; i < steps; i++) {
    if (rounded[i] >= rounded[i - 1]) {
      throw new EdgeDitError(
        'invalid-argument',
        `${name}: with ${steps} steps, steps ${i - 1} and ${i} have the same noise level ${rounded[i]}; use fewer steps`,
      );
    }
  }
  const levels = rounded.map((ratio): NoiseLevel => {
    const alpha = config.use_flow_sigmas ? 1 - ratio : 1 / Math.sqrt(ratio * ratio + 1);
    const sigma = config.use_flow_sigmas ? ratio : ratio * alpha;
    return { alpha, sigma, lambda: log(alpha) - log(sigma) };
  });
  return { timesteps, sigmas: rounded, levels };
}

/** @throws `invalid-argument` */
export function checkMultistepSteps(name: string, config: MultistepOptions, steps: number): void {
  const free = config.use_flow_sigmas || config.use_karras_sigmas;
  checkSteps(name, steps, free ? MAX_STEPS : Math.min(MAX_STEPS, config.num_train_timesteps));
}
