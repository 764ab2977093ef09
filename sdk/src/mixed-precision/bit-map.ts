/**
 * A map of widths: which layer's weight has how many bits, and how that was found. A JSON file, which may also be written by
 * hand: what it does not name stays as the recipe has it.
 */
import { createHash } from 'node:crypto';
import type { CodeBits } from '@edge-dit/runtime/engines/engine';
import { EdgeDitError } from '@edge-dit/runtime/errors';
import { z } from 'zod';
import type { CanonicalCheckpoint } from '../checkpoint/canonical.ts';
import type { Checkpoint } from '../checkpoint/checkpoint.ts';
import { planOf, type Recipe } from '../recipes/recipe.ts';

const sha256 = z.string().regex(/^[0-9a-f]{64}$/, 'must be 64 lower-case hex digits');
const count = z.int().min(0);
const bits = z.union([z.literal(4), z.literal(5), z.literal(6), z.literal(8)], 'must be 4, 5, 6 or 8');

/** How a map was found; the manifest has the same. */
const searchSchema = z.strictObject({
  recipe: z.string().max(200),
  /** SHA-256 of the checkpoint, as calibrations have it. */
  checkpoint: sha256,
  calibration: z.optional(sha256),
  /** Share of the float16 bytes. */
  budget: z.number().positive(),
  candidates: z.array(bits).max(4),
  /** Whether each role's layers were judged by a metric of their own. */
  decoupled: z.boolean(),
  sample: z.strictObject({
    conditions: z.array(z.union([z.string().max(10_000), count])).max(65_536),
    steps: count,
    guidance: z.number().min(0),
    seed: count,
  }),
  roles: z.array(
    z.strictObject({ role: z.string().max(100), metric: z.string().max(100), layers: count, bytes: count }),
  ),
  /** Of the shards, at most, and of float16. */
  bytes: count,
  floatBytes16: count,
  /** Errors of the map, where those of the narrowest width everywhere are 1. */
  estimated: z.strictObject({ picture: z.number(), text: z.number() }),
  /** SHA-256 of the measurements. */
  measurements: sha256,
});

const mapSchema = z.strictObject({
  format: z.literal('edge-dit-bit-map'),
  version: z.literal(1),
  /** `_class_name` of the checkpoint. */
  architecture: z.string(),
  layers: z.record(z.string(), bits),
  search: z.optional(searchSchema),
});

export type BitSearchRecord = z.infer<typeof searchSchema>;
export type BitMap = z.infer<typeof mapSchema>;

export function serializeBitMap(map: BitMap): Uint8Array {
  return new TextEncoder().encode(`${JSON.stringify(map, null, 2)}\n`);
}

/**
 * @param name of the file, for messages
 * @throws `invalid-argument` naming the file and the field
 */
export function parseBitMap(bytes: Uint8Array, name: string): BitMap {
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new EdgeDitError('invalid-argument', `${name} is not JSON in UTF-8.`, { cause });
  }
  const parsed = mapSchema.safeParse(json);
  if (parsed.success) return parsed.data;
  const [{ path, message }] = parsed.error.issues;
  throw new EdgeDitError('invalid-argument', `${name} is no bit map: ${path.join('.') || '(top)'}: ${message}.`);
}

/**
 * The recipe with the widths of a map.
 * @throws `checkpoint-mismatch` for a map of another architecture, and for a layer that the recipe does not quantize
 */
export function withBitMap(
  recipe: Recipe,
  map: BitMap,
  { architecture: name }: Checkpoint,
  { architecture }: CanonicalCheckpoint,
): Recipe {
  const refuse = (fault: string) => new EdgeDitError('checkpoint-mismatch', `the bit map ${fault}; search another.`);
  if (map.architecture !== name) throw refuse(`is of ${map.architecture}, the checkpoint of ${name}`);
  const specs = new Map(architecture.linears.map((spec) => [spec.name, spec]));
  for (const layer of Object.keys(map.layers)) {
    const spec = specs.get(layer);
    if (spec === undefined) throw refuse(`names "${layer.slice(0, 200)}", which is no linear layer of the checkpoint`);
    if (planOf(recipe, spec) === undefined) throw refuse(`names ${layer}, which ${recipe.name} keeps in float`);
  }
  return withBits(recipe, new Map(Object.entries(map.layers)));
}

/** The recipe with other widths for some layers. Groups of inputs are for 4 and 5 bits: wider codes do not gain by them. */
export function withBits(recipe: Recipe, widths: ReadonlyMap<string, CodeBits>): Recipe {
  const { mixed: _, ...rest } = recipe;
  const byBits = new Map<CodeBits, string[]>();
  for (const [layer, bits] of widths) byBits.set(bits, [...(byBits.get(bits) ?? []), layer]);
  const exceptions = [...byBits].map(([bits, layers]) => {
    const names = layers.map((layer) => layer.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
    const plan = bits <= WIDEST_GROUPED ? { bits } : { bits, group: undefined };
    return { layers: new RegExp(`^(?:${names.join('|')})$`), plan };
  });
  return { ...rest, exceptions: [...(recipe.exceptions ?? []), ...exceptions] };
}

const WIDEST_GROUPED = 5;

/** SHA-256 of a JSON text. */
export const digestOf = (text: string): string => createHash('sha256').update(text).digest('hex');
