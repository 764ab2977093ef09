/** Reading a model's config: a zod schema, and one typed error that names every field that does not fit. */
import * as z from 'zod/mini';
import { EdgeDitError } from '../errors.ts';
import { problemsOf, zodMessages } from '../zod-messages.ts';

/** Bounds of a transformer's sizes: beyond any published model, and small enough that their products are safe integers. */
export const MAX_WIDTH = 16384;
export const MAX_LAYERS = 512;
export const MAX_CHANNELS = 256;
export const MAX_SAMPLE_SIZE = 4096;

/** A whole number from 1 to `max`. */
export const size = (max: number) => z.int().check(z.minimum(1), z.maximum(max));

export function readConfig<T extends z.ZodMiniType>(schema: T, config: unknown, architecture: string): z.infer<T> {
  const result = schema.safeParse(config, zodMessages);
  if (result.success) return result.data;
  throw new EdgeDitError('config-unsupported', `${architecture} config: ${problemsOf(result.error)}`);
}
