/** The fields of a manifest, each with its form and limit. What fields say of one another is checked in manifest.ts. */
import * as z from 'zod';
import { MODEL_NAME, SHA256_HEX } from './keys.ts';
import {
  ALIGNMENT,
  MAX_CLASSES,
  MAX_ELEMENTS,
  MAX_FILE_PARTS,
  MAX_FILES,
  MAX_NAME_LENGTH,
  MAX_RANK,
  MAX_SHARD_BYTES,
  MAX_SHARDS,
  MAX_TENSORS,
  MAX_TEXT_LENGTH,
  PART_BYTES,
} from './limits.ts';

/** An array that stops at its first bad item: a hostile array must not become a million issues. */
function each<T>(item: z.ZodType<T>, max: number) {
  return z
    .array(z.unknown())
    .max(max)
    .transform((values, context): T[] => {
      const out: T[] = [];
      for (let i = 0; i < values.length; i++) {
        const result = item.safeParse(values[i]);
        if (!result.success) {
          const [issue] = result.error.issues;
          context.addIssue({ code: 'custom', path: [i, ...issue.path], message: issue.message });
          return z.NEVER;
        }
        out.push(result.data);
      }
      return out;
    });
}

const name = z
  .string()
  .max(MAX_NAME_LENGTH)
  .regex(/^[A-Za-z0-9][A-Za-z0-9_.:/-]*$/);
const fileName = z
  .string()
  .max(MAX_NAME_LENGTH)
  .regex(/^[A-Za-z0-9][A-Za-z0-9._-]*$/);
const sha256 = z.string().regex(SHA256_HEX, 'must be 64 lower-case hex digits');
const text = z.string().max(MAX_TEXT_LENGTH);
const label = z.string().min(1).max(MAX_NAME_LENGTH);
const bits = z.int().min(1).max(32);
const record = z.record(z.string(), z.unknown());

export const tensorRecord = z.strictObject({
  name,
  shape: each(z.int().min(1).max(MAX_ELEMENTS), MAX_RANK),
  encoding: label,
  shard: z
    .int()
    .min(0)
    .max(MAX_SHARDS - 1),
  offset: z.int().min(ALIGNMENT).max(MAX_SHARD_BYTES).multipleOf(ALIGNMENT, `must be a multiple of ${ALIGNMENT}`),
  length: z.int().min(1).max(MAX_SHARD_BYTES),
});

export const shardRecord = z.strictObject({
  sha256,
  length: z
    .int()
    .min(2 * ALIGNMENT)
    .max(MAX_SHARD_BYTES)
    .multipleOf(ALIGNMENT, `must be a multiple of ${ALIGNMENT}`),
});

export const fileRecord = z.strictObject({
  name: fileName,
  length: z
    .int()
    .min(1)
    .max(MAX_FILE_PARTS * PART_BYTES),
  sha256,
  parts: each(z.strictObject({ sha256, length: z.int().min(1).max(PART_BYTES) }), MAX_FILE_PARTS),
});

const textConditioning = z.strictObject({
  type: z.literal('text'),
  maxTokens: z.int().min(1).max(4096),
  channels: z.int().min(1).max(65_536).optional(),
  tokenizer: fileName.optional(),
  textEncoder: fileName.optional(),
});

const classConditioning = z.strictObject({
  type: z.literal('class'),
  count: z.int().min(1).max(MAX_CLASSES),
  names: each(label, MAX_CLASSES).optional(),
});

const pipeline = z.strictObject({
  space: z.enum(['pixel', 'latent']),
  conditioning: z.discriminatedUnion('type', [textConditioning, classConditioning]),
  vae: z
    .strictObject({
      decoder: fileName,
      scalingFactor: z.number().positive(),
      shiftFactor: z.number(),
      latentChannels: z.int().min(1).max(1024),
      spatialFactor: z.int().min(1).max(64),
    })
    .optional(),
});

const quantization = z.looseObject({
  recipe: label,
  activations: label,
  layers: each(z.looseObject({ name, weightBits: bits, activationBits: bits }), MAX_TENSORS),
  floatBytes16: z.int().min(0),
  calibration: z.looseObject({ sha256: sha256.optional() }).optional(),
});

export const manifestSchema = z.object({
  format: z.literal('edge-dit'),
  version: z.literal(1),
  model: z.string().regex(MODEL_NAME, 'must be a model name: a-z, 0-9, ".", "_", "-", 100 characters at most'),
  architecture: label,
  config: record,
  sampler: z.looseObject({ _class_name: label }),
  defaults: z.strictObject({ steps: z.int().min(1).max(1000), guidance: z.number().min(0).max(100) }),
  pipeline,
  tensors: each(tensorRecord, MAX_TENSORS),
  shards: each(shardRecord, MAX_SHARDS),
  files: each(fileRecord, MAX_FILES),
  quantization: quantization.optional(),
  license: text.optional(),
  attribution: text.optional(),
  /** Reserved. */
  signature: record.optional(),
});

/** Keys of the top level that start so are carried along and mean nothing to edge-dit. */
export const EXTENSION_PREFIX = 'x-';

export type Manifest = z.infer<typeof manifestSchema> & { readonly [key: `x-${string}`]: unknown };
export type TensorRecord = z.infer<typeof tensorRecord>;
export type ShardRecord = z.infer<typeof shardRecord>;
export type FileRecord = z.infer<typeof fileRecord>;
