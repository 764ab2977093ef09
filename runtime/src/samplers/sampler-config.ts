/**
 * Reads a scheduler's config. In: JSON as diffusers writes it, or part of it. Out: every option that the sampler
 * uses, diffusers 0.40's defaults filled in. An option whose value asks for something that is not implemented is
 * `config-unsupported` and named; options that change nothing here are accepted whatever their value.
 */
import { z } from 'zod';
import { EdgeDitError } from '../errors.ts';

/** Schedules are arrays of this length; published models have 1000. */
const MAX_TRAIN_TIMESTEPS = 10_000;
/** More steps than this never improve a sample, and a request must not be able to ask for an endless one. */
export const MAX_STEPS = 1000;

/** The options of the variance-preserving noise schedule. */
export const betaOptions = {
  num_train_timesteps: z.int().min(2).max(MAX_TRAIN_TIMESTEPS).default(1000),
  beta_start: z.number().positive().lt(1).default(1e-4),
  beta_end: z.number().positive().lt(1).default(0.02),
  beta_schedule: z.enum(['linear', 'scaled_linear', 'squaredcos_cap_v2']).default('linear'),
  trained_betas: z.array(z.number().positive().lt(1)).max(MAX_TRAIN_TIMESTEPS).nullable().default(null),
  rescale_betas_zero_snr: z.boolean().default(false),
};

export type BetaOptions = z.infer<z.ZodObject<typeof betaOptions>>;

/** Dynamic thresholding (Saharia et al. 2022). */
export const thresholdOptions = {
  thresholding: z.boolean().default(false),
  dynamic_thresholding_ratio: z.number().min(0).max(1).default(0.995),
  sample_max_value: z.number().positive().default(1),
};

/** Clipping of the predicted sample; thresholding takes its place where both are on. */
export const clipOptions = {
  ...thresholdOptions,
  clip_sample_range: z.number().positive().default(1),
};

export const timestepSpacing = z.enum(['linspace', 'leading', 'trailing']);
export const stepsOffset = z.int().min(0).max(MAX_TRAIN_TIMESTEPS).default(0);
export const finalSigmasType = z.enum(['zero', 'sigma_min']).default('zero');

/** An option that is implemented only where it is off. */
export const off = z.union([z.literal(false), z.null()]).default(false);

/** A Boolean that may be null, which counts as false. */
export const flag = z
  .boolean()
  .nullable()
  .default(false)
  .transform((value) => value === true);

/**
 * @param name the class, for messages
 * @throws `config-unsupported` that names each option which is not acceptable
 */
export function parseSamplerConfig<T extends z.ZodRawShape>(
  name: string,
  shape: T,
  config: Readonly<Record<string, unknown>>,
): z.output<z.ZodObject<T>> {
  const result = z.looseObject(shape).safeParse(config);
  if (result.success) return result.data as z.output<z.ZodObject<T>>;
  const problems = result.error.issues.map((issue) => {
    const key = String(issue.path[0] ?? 'config');
    return `${key} = ${shown(config[key])} (${issue.message.replace(/^Invalid input: /, '')})`;
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
