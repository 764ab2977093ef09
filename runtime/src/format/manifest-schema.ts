/** The fields of a manifest, each with its form and limit. What fields say of one another is checked in manifest.ts. */
import * as z from 'zod/mini';
import { zodMessages } from '../zod-messages.ts';
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
function each<T>(item: z.ZodMiniType<T>, max: number) {
  return z.pipe(
    z.array(z.unknown()).check(z.maxLength(max)),
    z.transform((values, context): T[] => {
      const out: T[] = [];
      for (let i = 0; i < values.length; i++) {
        const result = item.safeParse(values[i], zodMessages);
        if (!result.success) {
          const [issue] = result.error.issues;
          context.issues.push({
            code: 'custom',
            path: [i, ...issue.path],
            message: issue.message,
            input: values[i],
          });
          return z.NEVER;
        }
        out.push(result.data);
      }
      return out;
    }),
  );
}

const whole = (least: number, most: number) => z.int().check(z.minimum(least), z.maximum(most));
const aligned = z.multipleOf(ALIGNMENT, `must be a multiple of ${ALIGNMENT}`);
const name = z.string().check(z.maxLength(MAX_NAME_LENGTH), z.regex(/^[A-Za-z0-9][A-Za-z0-9_.:/-]*$/));
const fileName = z.string().check(z.maxLength(MAX_NAME_LENGTH), z.regex(/^[A-Za-z0-9][A-Za-z0-9._-]*$/));
const sha256 = z.string().check(z.regex(SHA256_HEX, 'must be 64 lower-case hex digits'));
const text = z.string().check(z.maxLength(MAX_TEXT_LENGTH));
const label = z.string().check(z.minLength(1), z.maxLength(MAX_NAME_LENGTH));
const bits = whole(1, 32);

const packed = {
  name,
  shape: each(whole(1, MAX_ELEMENTS), MAX_RANK),
  length: whole(1, MAX_SHARD_BYTES),
};

/** What a tensor must be before it has a place in a shard. */
export const packedRecord = z.strictObject(packed);

export const tensorRecord = z.strictObject({
  ...packed,
  encoding: label,
  shard: whole(0, MAX_SHARDS - 1),
  offset: whole(ALIGNMENT, MAX_SHARD_BYTES).check(aligned),
});

export const shardRecord = z.strictObject({
  sha256,
  length: whole(2 * ALIGNMENT, MAX_SHARD_BYTES).check(aligned),
});

export const fileRecord = z.strictObject({
  name: fileName,
  length: whole(1, MAX_FILE_PARTS * PART_BYTES),
  sha256,
  parts: each(z.strictObject({ sha256, length: whole(1, PART_BYTES) }), MAX_FILE_PARTS),
});

const textConditioning = z.strictObject({
  type: z.literal('text'),
  maxTokens: whole(1, 4096),
  channels: z.optional(whole(1, 65_536)),
  tokenizer: z.optional(fileName),
  textEncoder: z.optional(fileName),
});

const classConditioning = z.strictObject({
  type: z.literal('class'),
  count: whole(1, MAX_CLASSES),
  names: z.optional(each(label, MAX_CLASSES)),
});

const pipeline = z.strictObject({
  space: z.literal(['pixel', 'latent']),
  conditioning: z.discriminatedUnion('type', [textConditioning, classConditioning]),
  vae: z.optional(
    z.strictObject({
      decoder: fileName,
      scalingFactor: z.number().check(z.positive()),
      shiftFactor: z.number(),
      latentChannels: whole(1, 1024),
      spatialFactor: whole(1, 64),
    }),
  ),
});

const quantization = z.looseObject({
  recipe: label,
  activations: label,
  layers: each(z.looseObject({ name, weightBits: bits, activationBits: bits }), MAX_TENSORS),
  attention: z.optional(z.literal(['float', 'int8'])),
  floatBytes16: z.int().check(z.minimum(0)),
  calibration: z.optional(z.looseObject({ sha256: z.optional(sha256) })),
});

/** Of UTC, to the second. */
const time = z
  .string()
  .check(z.regex(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/, 'must be a time such as 2026-01-31T23:59:59Z'));

/** Whether it fits the manifest is the business of trust.ts. */
const signature = z.strictObject({
  algorithm: z.literal('Ed25519'),
  /** The public key itself. */
  key: sha256,
  issued: time,
  expires: z.optional(time),
  sequence: z.int().check(z.minimum(1)),
  value: z.string().check(z.regex(/^[0-9a-f]{128}$/, 'must be 128 lower-case hex digits')),
});

export const manifestSchema = z.object({
  format: z.literal('edge-dit'),
  version: z.literal(1),
  model: z.string().check(z.regex(MODEL_NAME, 'must be a model name: a-z, 0-9, ".", "_", "-", 100 characters at most')),
  architecture: label,
  config: z.looseObject({}),
  sampler: z.looseObject({ _class_name: label }),
  defaults: z.strictObject({ steps: whole(1, 1000), guidance: z.number().check(z.minimum(0), z.maximum(100)) }),
  pipeline,
  tensors: each(tensorRecord, MAX_TENSORS),
  shards: each(shardRecord, MAX_SHARDS),
  files: each(fileRecord, MAX_FILES),
  quantization: z.optional(quantization),
  license: z.optional(text),
  attribution: z.optional(text),
  signature: z.optional(signature),
});

/** Keys of the top level that start so are carried along and mean nothing to edge-dit. */
export const EXTENSION_PREFIX = 'x-';

export type Manifest = z.infer<typeof manifestSchema> & { readonly [key: `x-${string}`]: unknown };
export type TensorRecord = z.infer<typeof tensorRecord>;
export type ShardRecord = z.infer<typeof shardRecord>;
export type FileRecord = z.infer<typeof fileRecord>;
