/**
 * DPM-Solver++ multistep (Lu et al. 2022b, algorithm 2 and appendix B), orders 1 to 3, by the config of diffusers'
 * `DPMSolverMultistepScheduler`. It integrates the predicted sample over lambda = ln(alpha / sigma).
 * `history` holds the predicted samples of the last steps, at most order - 1.
 */
import * as z from 'zod/mini';
import { expm1 } from '../math.ts';
import {
  checkMultistepSteps,
  finishLevels,
  flowLevels,
  karrasLevels,
  type Levels,
  multistepOptions,
  spacedLevels,
  trainedLevels,
} from './multistep-schedule.ts';
import { predictedSample, threshold } from './prediction.ts';
import type { Sampler, SamplerFamily } from './sampler.ts';
import { off, parseSamplerConfig } from './sampler-config.ts';
import { logarithms, shiftSigma } from './sigma-spacing.ts';
import { evenlySpaced } from './timestep-spacing.ts';
import { weightedSum } from './weighted-sum.ts';

const NAME = 'DPMSolverMultistepScheduler';
/** diffusers lowers the order at the end only for fewer steps than this. */
const FEW_STEPS = 15;

/** Python writes -Infinity into JSON, which readers turn into a number, a string or null. */
const lambdaMin = z.pipe(
  z._default(z.union([z.number(), z.literal([Number.NEGATIVE_INFINITY, '-Infinity', null])]), Number.NEGATIVE_INFINITY),
  z.transform((value) => (typeof value === 'number' ? value : Number.NEGATIVE_INFINITY)),
);

/** `variance_type` changes nothing: a network's variance channels never reach a sampler. */
const options = {
  ...multistepOptions,
  // The other names are those of other solvers' configs, which diffusers reads so.
  algorithm_type: z._default(z.literal(['dpmsolver++', 'deis']), 'dpmsolver++'),
  solver_type: z.pipe(
    z._default(z.literal(['midpoint', 'heun', 'logrho', 'bh1', 'bh2']), 'midpoint'),
    z.transform((type) => (type === 'heun' ? 'heun' : 'midpoint')),
  ),
  euler_at_final: z._default(z.boolean(), false),
  lambda_min_clipped: lambdaMin,
  use_lu_lambdas: off,
};
type Config = z.output<z.ZodMiniObject<typeof options>>;

function create(raw: Readonly<Record<string, unknown>>, steps: number, items: number): Sampler {
  const config = parseSamplerConfig(NAME, options, raw);
  checkMultistepSteps(NAME, config, steps);
  const table = trainedLevels(NAME, config);
  const final = config.final_sigmas_type === 'sigma_min' ? table[0] : 0;
  const { timesteps, sigmas, levels } = finishLevels(NAME, config, chosenLevels(config, steps, table), final);

  /** The order of step i when `known` earlier predictions are at hand. */
  function orderOf(i: number, known: number): number {
    const few = config.lower_order_final && steps < FEW_STEPS;
    if (i === steps - 1 && (config.euler_at_final || few || config.final_sigmas_type !== 'sigma_min')) return 1;
    const most = i === steps - 2 && few ? 2 : config.solver_order;
    return Math.min(most, config.solver_order, known + 1);
  }

  function predict(i: number, output: Float32Array, x: Float32Array): Float32Array {
    return predictedSample(config.prediction_type, output, x, levels[i].alpha, levels[i].sigma);
  }

  return {
    timesteps,
    sigmas,
    initNoiseSigma: 1,
    scaleInput: (x) => x,
    predict,
    step(i, output, { x, history }) {
      const { sigma, lambda } = levels[i];
      const next = levels[i + 1];
      const kept = threshold(predict(i, output, x), config, items);
      // The caller may reuse its output's memory.
      const m0 = kept === output ? output.slice() : kept;
      const newHistory = [m0, ...history].slice(0, config.solver_order - 1);
      const h = next.lambda - lambda;
      // Equal levels, which only the last two may be: nothing is left to do.
      if (h === 0) return { x: x.slice(), history: newHistory };

      const order = orderOf(i, history.length);
      const e = expm1(-h);
      const first = -next.alpha * e;
      const ratio = next.sigma / sigma;
      if (order === 1) {
        return {
          x: weightedSum([
            [ratio, x],
            [first, m0],
          ]),
          history: newHistory,
        };
      }
      const r0 = (lambda - levels[i - 1].lambda) / h;
      const slope = next.alpha * (e / h + 1);
      if (order === 2) {
        const weight = (config.solver_type === 'heun' ? slope : 0.5 * first) / r0;
        return {
          x: weightedSum([
            [ratio, x],
            [first + weight, m0],
            [-weight, history[0]],
          ]),
          history: newHistory,
        };
      }
      const r1 = (levels[i - 1].lambda - levels[i - 2].lambda) / h;
      const curve = -next.alpha * ((e + h) / (h * h) - 0.5);
      const share = (slope * r0 + curve) / (r0 + r1);
      const near = (slope + share) / r0;
      const far = share / r1;
      const terms = [
        [ratio, x],
        [first + near, m0],
        [-near - far, history[0]],
        [far, history[1]],
      ] as const;
      return { x: weightedSum(terms), history: newHistory };
    },
  };
}

function chosenLevels(config: Config, steps: number, table: Float32Array): Levels {
  const trained = config.num_train_timesteps;
  if (config.use_karras_sigmas) {
    return karrasLevels(steps, table, table[trained - 1], table[0], config.beta_schedule === 'squaredcos_cap_v2');
  }
  if (config.use_flow_sigmas) {
    const sigmas = evenlySpaced(1, 1 / trained, steps + 1).map((alpha) =>
      shiftSigma(1 - alpha, config.flow_shift ?? 1),
    );
    return flowLevels(sigmas.reverse().slice(0, -1), trained);
  }
  // Timesteps whose lambda is below the minimum are left out: cosine schedules are extreme there.
  const clipped = logarithms(table).filter((value) => -value < config.lambda_min_clipped).length;
  return spacedLevels(NAME, config, steps, table, trained - clipped);
}

export const dpmSolverMultistep: SamplerFamily = { name: NAME, create };
