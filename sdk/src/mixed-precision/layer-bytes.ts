/** How many bytes a recipe makes of a checkpoint's tensors, before anything is quantized. */

import { GROUP_RECORD_BYTES } from '@edge-dit/runtime/format/code-groups';
import { encodingByName, PANEL_COLUMNS } from '@edge-dit/runtime/format/encodings';
import { MAX_SHARD_BYTES } from '@edge-dit/runtime/format/limits';
import { alignUp, SHARD_HEADER_BYTES } from '@edge-dit/runtime/format/shard';
import type { LinearSpec } from '@edge-dit/runtime/models/architecture';
import { hadamardOrder } from '@edge-dit/wasm-kernels';
import type { CanonicalCheckpoint } from '../checkpoint/canonical.ts';
import { encodeFloat } from '../quantize/encode-tensors.ts';
import { type LayerPlan, planOf, type Recipe } from '../recipes/recipe.ts';

/**
 * Bytes of a layer's codes and what belongs to them, each tensor rounded up as shards pack it; the bias is not counted. A
 * balance that the plan asks for counts, though a search may find that none is better; one that another layer takes does not.
 */
export function codeBytes(spec: LinearSpec, plan: LayerPlan, calibrated: boolean): number {
  const { outFeatures, inFeatures, scaledBy } = spec;
  const { bits, group = inFeatures, balance, rotation } = plan;
  const groups = inFeatures % group === 0 && group < inFeatures ? inFeatures / group : 0;
  const parts = [
    encodingByName(`u${bits}-8x4`).byteLength([outFeatures, inFeatures]),
    2 * outFeatures,
    outFeatures,
    Math.ceil(outFeatures / PANEL_COLUMNS) * groups * GROUP_RECORD_BYTES,
    balance && calibrated && !scaledBy ? 2 * inFeatures : 0,
    rotation && hadamardOrder(inFeatures) !== undefined ? inFeatures : 0,
  ];
  return parts.reduce((sum, bytes) => sum + alignUp(bytes), 0);
}

/**
 * Bytes of the shards without the codes of the layers in `without`: tables, biases, layers in float, layers whose width
 * is not searched, and a header for each shard that there could be.
 */
export async function fixedBytes(
  { architecture, tensors }: CanonicalCheckpoint,
  recipe: Recipe,
  calibrated: ReadonlySet<string>,
  without: ReadonlySet<string>,
): Promise<number> {
  const { linears, tables } = architecture;
  const floatBytes = async (name: string, group: string) => {
    const { shape, read } = tensors.get(name)!;
    return alignUp(encodeFloat(name, shape, await read(), group).bytes.length);
  };
  let total = 0;
  for (const { name, group } of tables) total += await floatBytes(name, group);
  for (const spec of linears) {
    const { name, group, bias } = spec;
    if (bias) total += await floatBytes(`${name}.bias`, group);
    const plan = planOf(recipe, spec);
    if (plan === undefined) total += await floatBytes(`${name}.weight`, group);
    else if (!without.has(name)) total += codeBytes(spec, plan, calibrated.has(name));
  }
  return total + SHARD_HEADER_BYTES * mostShards(architecture);
}

/** A shard for each group of tensors at most; for each of their tensors where a group may not fit one. */
function mostShards({ linears, tables }: CanonicalCheckpoint['architecture']): number {
  const groups = new Map<string, { values: number; tensors: number }>();
  const add = (group: string, values: number, tensors: number) => {
    const sum = groups.get(group) ?? { values: 0, tensors: 0 };
    groups.set(group, { values: sum.values + values, tensors: sum.tensors + tensors });
  };
  for (const { group, outFeatures, inFeatures } of linears) add(group, outFeatures * inFeatures, TENSORS_OF_LINEAR);
  for (const { group, shape } of tables)
    add(
      group,
      shape.reduce((a, b) => a * b, 1),
      1,
    );
  const shards = [...groups.values()].map(({ values, tensors }) => (4 * values < ROOM_OF_SHARD ? 1 : tensors));
  return shards.reduce((sum, count) => sum + count, 0);
}

/** For the values of a group, of at most 4 bytes each; the rest is more than enough for what quantization adds. */
const ROOM_OF_SHARD = 0.9 * MAX_SHARD_BYTES;
/** Weight, scale, zero, groups, balance, rotation, bias. */
const TENSORS_OF_LINEAR = 7;
