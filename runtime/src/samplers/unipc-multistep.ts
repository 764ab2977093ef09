/**
 * UniPC (Zhao et al. 2023, algorithms 1 and 2, B(h) version), orders 1 to 3, by the config of diffusers'
 * `UniPCMultistepScheduler`: each step first corrects the sample with the network's newest output, then predicts the
 * next. `history` holds the outputs of the last steps, newest first, at most as many as the order, and behind them
 * the sample that the last prediction started from.
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
import { predictedNoise, predictedSample, threshold } from './prediction.ts';
import type { Sampler, SamplerFamily } from './sampler.ts';
import { MAX_STEPS, off, parseSamplerConfig, unsupported } from './sampler-config.ts';
import { karrasSigmas, shiftSigma, stretchToTerminal } from './sigma-spacing.ts';
import { evenlySpaced } from './timestep-spacing.ts';
import { unipcWeights } from './unipc-weights.ts';
import { type Term, weightedSum } from './weighted-sum.ts';

const NAME = 'UniPCMultistepScheduler';
/** A flow level of 1 has no signal and an infinite lambda. */
const LEAST_SIGNAL = 1e-6;

const options = {
  ...multistepOptions,
  predict_x0: z._default(z.boolean(), true),
  // The other names are those of DPM-Solver's configs, which diffusers reads so.
  solver_type: z.pipe(
    z._default(z.literal(['bh1', 'bh2', 'midpoint', 'heun', 'logrho']), 'bh2'),
    z.transform((type) => (type === 'bh1' ? 'bh1' : 'bh2')),
  ),
  disable_corrector: z._default(z.array(z.int().check(z.minimum(0))).check(z.maxLength(MAX_STEPS)), []),
  sigma_min: z._default(z.nullable(z.number().check(z.positive())), null),
  sigma_max: z._default(z.nullable(z.number().check(z.positive())), null),
  shift_terminal: z._default(z.nullable(z.number().check(z.minimum(0), z.lt(1))), null),
  solver_p: off,
};
type Config = z.output<z.ZodMiniObject<typeof options>>;

function create(raw: Readonly<Record<string, unknown>>, steps: number, items: number): Sampler {
  const config = parseSamplerConfig(NAME, options, raw);
  checkMultistepSteps(NAME, config, steps);
  if (!config.predict_x0 && config.prediction_type === 'flow') {
    throw unsupported(NAME, 'prediction_type = "flow_prediction" needs predict_x0');
  }
  // At a last level of 0 lambda is infinite: higher orders and the noise form have no limit there.
  if (config.final_sigmas_type !== 'sigma_min' && !(config.predict_x0 && config.lower_order_final)) {
    throw unsupported(NAME, 'final_sigmas_type = "zero" needs predict_x0 and lower_order_final');
  }
  const table = trainedLevels(NAME, config);
  const chosen = chosenLevels(config, steps, table);
  const own = config.use_karras_sigmas || config.use_flow_sigmas;
  const least = own ? chosen.sigmas[steps - 1] : table[0];
  const final = config.final_sigmas_type === 'sigma_min' ? least : 0;
  const { timesteps, sigmas, levels } = finishLevels(NAME, config, chosen, final);

  /** The order of step i's prediction when `known` outputs are at hand. */
  function orderOf(i: number, known: number): number {
    return Math.min(config.solver_order, config.lower_order_final ? steps - i : config.solver_order, known);
  }

  function predict(i: number, output: Float32Array, x: Float32Array): Float32Array {
    return predictedSample(config.prediction_type, output, x, levels[i].alpha, levels[i].sigma);
  }

  function converted(i: number, output: Float32Array, x: Float32Array): Float32Array {
    const { alpha, sigma } = levels[i];
    const type = config.prediction_type;
    const value =
      config.predict_x0 || type === 'flow'
        ? threshold(predict(i, output, x), config, items)
        : predictedNoise(type, output, x, alpha, sigma);
    // The caller may reuse its output's memory.
    return value === output ? output.slice() : value;
  }

  /** From level `from` to the next, from outputs at `from` and before; `newest` is the output at the next level. */
  function move(from: number, order: number, x: Float32Array, outputs: readonly Float32Array[], newest?: Float32Array) {
    const now = levels[from];
    const next = levels[from + 1];
    const h = next.lambda - now.lambda;
    if (h === 0) return x.slice();
    const hh = config.predict_x0 ? -h : h;
    const ratio = config.predict_x0 ? next.sigma / now.sigma : next.alpha / now.alpha;
    const size = config.predict_x0 ? next.alpha : next.sigma;
    const distances = Array.from({ length: order - 1 }, (_, j) => (levels[from - 1 - j].lambda - now.lambda) / h);
    const { b, weights } = unipcWeights(hh, distances, config.solver_type, newest !== undefined);
    const others = newest === undefined ? outputs.slice(1, order) : [...outputs.slice(1, order), newest];
    const divisors = [...distances, 1];
    const terms = others.map((values, j): Term => [(-size * b * weights[j]) / divisors[j], values]);
    const centre = terms.reduce((sum, [weight]) => sum - weight, -size * expm1(hh));
    return weightedSum([[ratio, x], [centre, outputs[0]], ...terms]);
  }

  return {
    timesteps,
    sigmas,
    initNoiseSigma: 1,
    scaleInput: (x) => x,
    predict,
    step(i, output, { x, history }) {
      const newest = converted(i, output, x);
      let sample = x;
      const known = history.slice(0, -1);
      if (known.length > 0 && !config.disable_corrector.includes(i - 1)) {
        const before = history[history.length - 1];
        sample = move(i - 1, orderOf(i - 1, known.length), before, known, newest);
      }
      const outputs = [newest, ...known].slice(0, config.solver_order);
      const order = orderOf(i, known.length + 1);
      return { x: move(i, order, sample, outputs), history: [...outputs, sample] };
    },
  };
}

function chosenLevels(config: Config, steps: number, table: Float32Array): Levels {
  const trained = config.num_train_timesteps;
  if (config.use_karras_sigmas) {
    const max = config.sigma_max ?? table[trained - 1];
    const min = config.sigma_min ?? table[0];
    if (!config.use_flow_sigmas) return karrasLevels(steps, table, max, min, false);
    return flowLevels(
      karrasSigmas(max, min, steps).map((sigma) => sigma / (sigma + 1)),
      trained,
    );
  }
  if (config.use_flow_sigmas) {
    const even = evenlySpaced(1, 1 / trained, steps + 1).slice(0, -1);
    let sigmas = even.map((sigma) => shiftSigma(sigma, config.flow_shift ?? 1));
    if (config.shift_terminal) {
      if (steps < 2) throw unsupported(NAME, `shift_terminal = ${config.shift_terminal} needs 2 steps or more`);
      sigmas = stretchToTerminal(sigmas, config.shift_terminal);
    }
    if (Math.abs(sigmas[0] - 1) < LEAST_SIGNAL) sigmas[0] -= LEAST_SIGNAL;
    return flowLevels(sigmas, trained);
  }
  return spacedLevels(NAME, config, steps, table, trained);
}

export const unipcMultistep: SamplerFamily = { name: NAME, create };
