/** Canonical float tensors in, encoded tensors out, in the order in which shards hold them: one layer at a time. */
import { nibblesFromPanels, panelsFromCodes } from '@edge-dit/runtime/format/encodings';
import { floatToHalf } from '@edge-dit/runtime/format/half';
import type { PackTensor } from '@edge-dit/runtime/format/pack';
import type { LinearSpec } from '@edge-dit/runtime/models/architecture';
import { balanceName, scaleName, zeroName } from '@edge-dit/runtime/models/weights';
import type { Calibration } from '../calibrate/calibrate.ts';
import type { CanonicalCheckpoint } from '../checkpoint/canonical.ts';
import type { Recipe } from '../recipes/recipe.ts';
import { balances } from './balance.ts';
import { quantizeWeight } from './quantize-weight.ts';

export type LayerRecord = {
  readonly name: string;
  readonly weightBits: number;
  readonly activationBits: number;
};

/** Largest magnitude that float16 holds. */
const HALF_MAX = 65504;

/** float16, or float32 where a value does not fit float16's range. */
function encodeFloat(name: string, shape: readonly number[], data: Float32Array, group: string): PackTensor {
  if (data.some((value) => Math.abs(value) > HALF_MAX)) {
    return {
      name,
      shape,
      encoding: 'f32',
      bytes: new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
      group,
    };
  }
  const bytes = new Uint8Array(2 * data.length);
  const view = new DataView(bytes.buffer);
  data.forEach((value, i) => {
    view.setUint16(2 * i, floatToHalf(value), true);
  });
  return { name, shape, encoding: 'f16', bytes, group };
}

async function* encodeLinear(
  spec: LinearSpec,
  bits: 4 | 8 | 16,
  balance: Float32Array | undefined,
  { tensors }: CanonicalCheckpoint,
): AsyncGenerator<PackTensor> {
  const { name, outFeatures, inFeatures, group } = spec;
  const shape = [outFeatures, inFeatures];
  const weight = await tensors.get(`${name}.weight`)!.read();
  if (bits === 16) yield encodeFloat(`${name}.weight`, shape, weight, group);
  else {
    const balanced = balance ? weight.map((value, i) => value / balance[i % inFeatures]) : weight;
    const { codes, scale, zero } = quantizeWeight(balanced, outFeatures, inFeatures, bits);
    const wide = panelsFromCodes(codes, outFeatures, inFeatures);
    const [encoding, bytes] = bits === 8 ? ['u8-8x4', wide] : ['u4-8x4', nibblesFromPanels(wide)];
    yield { name: `${name}.weight`, shape, encoding, bytes, group } as PackTensor;
    yield encodeFloat(scaleName(name), [outFeatures], scale, group);
    yield { name: zeroName(name), shape: [outFeatures], encoding: 'u8', bytes: zero, group };
    if (balance) yield encodeFloat(balanceName(name), [inFeatures], balance, group);
  }
  if (spec.bias) yield encodeFloat(`${name}.bias`, [outFeatures], await tensors.get(`${name}.bias`)!.read(), group);
}

/** Every tensor of the artifact; `onLayer` is told of each linear layer when it is done. */
export async function* encodeTensors(
  checkpoint: CanonicalCheckpoint,
  recipe: Recipe,
  calibration: Calibration | undefined,
  onLayer: (layer: LayerRecord) => void,
): AsyncGenerator<PackTensor> {
  const { linears, tables } = checkpoint.architecture;
  const quantized = new Set(linears.filter((spec) => recipe.weightBits(spec) !== 16).map(({ name }) => name));
  const balance =
    calibration && recipe.balance && (await balances(checkpoint, calibration, quantized, recipe.balance.alpha));
  const groups = new Set([...linears, ...tables].map(({ group }) => group));
  for (const group of orderGroups([...groups])) {
    for (const spec of linears.filter((linear) => linear.group === group)) {
      const bits = recipe.weightBits(spec);
      yield* encodeLinear(spec, bits, balance?.get(spec.name), checkpoint);
      onLayer({ name: spec.name, weightBits: bits, activationBits: bits === 16 ? 32 : 8 });
    }
    for (const { name, shape } of tables.filter((table) => table.group === group)) {
      yield encodeFloat(name, shape, await checkpoint.tensors.get(name)!.read(), group);
    }
  }
}

/** What a forward needs first comes first: the start, the blocks in order, the end. */
function orderGroups(groups: readonly string[]): string[] {
  const rank = (group: string) =>
    group === 'start' ? -1 : group === 'end' ? Number.POSITIVE_INFINITY : Number(group.split('.')[1]);
  return [...groups].sort((a, b) => rank(a) - rank(b));
}
