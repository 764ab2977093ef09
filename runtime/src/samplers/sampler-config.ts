/**
 * Reads a scheduler's config. In: JSON as diffusers writes it, or part of it. Out: every option that the sampler
 * uses, diffusers 0.40's defaults filled in. An option whose value asks for something that is not implemented is
 * `config-unsupported` and named; options that change nothing here are accepted whatever their value.
 */
import * as z from 'zod/mini';
import { EdgeDitError } from '../errors.ts';
import { zodMessages } from '../zod-messages.ts';

/** Schedules are arrays of this length; published models have 1000. */
const MAX_TRAIN_TIMESTEPS = 10_000;
/** More steps than this never improve a sample, and a request must not be able to ask for an endless one. */
export const MAX_STEPS = 1000;

const betweenZeroAndOne = z.number().check(z.positive(), z.lt(1));
const betaSchedule = z.literal(['linear', 'scaled_linear', 'squaredcos_cap_v2']);

/** A noise schedule's options with the defaults that a class has for them. */
export const betaRange = (start: number, end: number, schedule: z.infer<typeof betaSchedule>) => ({
  beta_start: z._default(betweenZeroAndOne, start),
  beta_end: z._default(betweenZeroAndOne, end),
  beta_schedule: z._default(betaSchedule, schedule),
});

/** The options of the variance-preserving noise schedule. */
export const betaOptions = {
  num_train_timesteps: z._default(z.int().check(z.minimum(2), z.maximum(MAX_TRAIN_TIMESTEPS)), 1000),
  ...betaRange(1e-4, 0.02, 'linear'),
  trained_betas: z._default(z.nullable(z.array(betweenZeroAndOne).check(z.maxLength(MAX_TRAIN_TIMESTEPS))), null),
  rescale_betas_zero_snr: z._default(z.boolean(), false),
};

export type BetaOptions = z.infer<z.ZodMiniObject<typeof betaOptions>>;

/** Dynamic thresholding (Saharia et al. 2022). */
export const thresholdOptions = {
  thresholding: z._default(z.boolean(), false),
  dynamic_thresholding_ratio: z._default(z.number().check(z.minimum(0), z.maximum(1)), 0.995),
  sample_max_value: z._default(z.number().check(z.positive()), 1),
};

/** Clipping of the predicted sample; thresholding takes its place where both are on. */
export const clipOptions = {
  ...thresholdOptions,
  clip_sample_range: z._default(z.number().check(z.positive()), 1),
};

export const timestepSpacing = z.literal(['linspace', 'leading', 'trailing']);
export const stepsOffset = z._default(z.int().check(z.minimum(0), z.maximum(MAX_TRAIN_TIMESTEPS)), 0);
export const finalSigmasType = z._default(z.literal(['zero', 'sigma_min']), 'zero');

/** An option that is implemented only where it is off. */
export const off = z._default(z.literal([false, null]), false);

/** A Boolean that may be null, which counts as false. */
export const flag = z.pipe(
  z._default(z.nullable(z.boolean()), false),
  z.transform((value) => value === true),
);

/**
 * @param name the class, for messages
 * @throws `config-unsupported` that names each option which is not acceptable
 */
export function parseSamplerConfig<T extends z.core.$ZodShape>(
  name: string,
  shape: T,
  config: Readonly<Record<string, unknown>>,
): z.output<z.ZodMiniObject<T>> {
  const result = z.looseObject(shape).safeParse(config, zodMessages);
  if (result.success) return result.data as z.output<z.ZodMiniObject<T>>;
  const problems = result.error.issues.map((issue) => {
    const key = String(issue.path[0] ?? 'config');
    return `${key} = ${shown(config[key])} (${issue.message})`;
  });
  throw unsupported(name, problems.join('; '));
}

function shown(value: unknown): string {
  return (JSON.stringify(value) ?? 'undefined').slice(0, 60);
}

export function unsupported(name: string, problem: string): EdgeDitError {
  return new EdgeDitError('config-unsupported', `${name}: ${problem}; change the sampler's config`);
}

/** @throws `invalid-argument` unless `steps` is an integer from 1 to `most` */
export function checkSteps(name: string, steps: number, most: number): void {
  if (!Number.isInteger(steps) || steps < 1 || steps > most) {
    throw new EdgeDitError('invalid-argument', `${name}: steps is ${steps}, expected an integer from 1 to ${most}`);
  }
}
