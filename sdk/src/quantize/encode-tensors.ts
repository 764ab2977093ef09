/** Canonical float tensors in, encoded tensors out, in the order in which shards hold them: one layer at a time. */
import { PANEL_COLUMNS, panelsFromCodes } from '@edge-dit/runtime/format/encodings';
import { floatToHalf } from '@edge-dit/runtime/format/half';
import type { PackTensor } from '@edge-dit/runtime/format/pack';
import type { LinearSpec } from '@edge-dit/runtime/models/architecture';
import { balanceName, groupsName, rotationName, scaleName, zeroName } from '@edge-dit/runtime/models/weights';
import type { Calibration } from '../calibrate/calibrate.ts';
import type { CanonicalCheckpoint } from '../checkpoint/canonical.ts';
import { planOf } from '../recipes/recipe.ts';
import { InputTransforms, scaledBias, scaledWeight } from './input-transforms.ts';
import { type QuantizedLayer, type QuantizeLayersOptions, quantizeLayers } from './quantize-layers.ts';

export type LayerRecord = {
  readonly name: string;
  readonly weightBits: number;
  /** 32 for float. */
  readonly activationBits: number;
  /** Inputs that share a step, where not all do. */
  readonly group?: number;
  readonly rounding?: 'gptq';
  /** Of its balance. */
  readonly alpha?: number;
  /** The layer that has the balance in its outputs; where there is none, inputs are multiplied by it. */
  readonly folded?: string;
  readonly rotation?: true;
};

/** Largest magnitude that float16 holds. */
const HALF_MAX = 65504;

/** float16, or float32 where a value does not fit float16's range. */
export function encodeFloat(name: string, shape: readonly number[], data: Float32Array, group: string): PackTensor {
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

/** @param layer undefined for one that stays in float */
async function* encodeLinear(
  spec: LinearSpec,
  layer: QuantizedLayer | undefined,
  transforms: InputTransforms,
  { tensors }: CanonicalCheckpoint,
): AsyncGenerator<PackTensor, LayerRecord> {
  const { name, outFeatures, inFeatures, group } = spec;
  const shape = [outFeatures, inFeatures];
  const scale = await transforms.outputScale(spec);
  let record: LayerRecord = { name, weightBits: 16, activationBits: 32 };
  if (layer === undefined) {
    const weight = scaledWeight(await tensors.get(`${name}.weight`)!.read(), inFeatures, scale);
    yield encodeFloat(`${name}.weight`, shape, weight, group);
  } else {
    const { plan, byGptq } = layer;
    const { alpha, balance, folded, rotation } = layer.transform;
    const { codes, scale, zero, groups } = layer.weight;
    const bytes = (tensor: string, data: Uint8Array, size: readonly number[]): PackTensor => {
      return { name: tensor, shape: size, encoding: 'u8', bytes: data, group };
    };
    const { bits } = plan;
    const panels = panelsFromCodes(codes, outFeatures, inFeatures, bits);
    yield { name: `${name}.weight`, shape, encoding: `u${bits}-8x4`, bytes: panels, group };
    yield encodeFloat(scaleName(name), [outFeatures], scale, group);
    yield bytes(zeroName(name), zero, [outFeatures]);
    if (groups) {
      const { size, records } = groups;
      yield bytes(groupsName(name), records, [Math.ceil(outFeatures / PANEL_COLUMNS), inFeatures / size, 16]);
    }
    if (balance && !folded) yield encodeFloat(balanceName(name), [inFeatures], balance, group);
    if (rotation) yield bytes(rotationName(name), rotation, [inFeatures]);
    const activationBits = plan.activationBits ?? 8;
    record = {
      name,
      weightBits: bits,
      activationBits: activationBits === 'float' ? 32 : activationBits,
      ...(groups ? { group: groups.size } : {}),
      ...(byGptq ? { rounding: 'gptq' } : {}),
      ...(balance ? { alpha } : {}),
      ...(folded ? { folded } : {}),
      ...(rotation ? { rotation: true } : {}),
    };
  }
  if (spec.bias) {
    const bias = scaledBias(await tensors.get(`${name}.bias`)!.read(), scale);
    yield encodeFloat(`${name}.bias`, [outFeatures], bias, group);
  }
  return record;
}

export interface EncodeOptions extends Pick<QuantizeLayersOptions, 'recipe' | 'kept' | 'threads' | 'signal'> {
  readonly checkpoint: CanonicalCheckpoint;
  readonly calibration?: Calibration;
  /** Told of each linear layer when it is done. */
  readonly onLayer: (layer: LayerRecord) => void;
}

/** Every tensor of the artifact. */
export async function* encodeTensors(options: EncodeOptions): AsyncGenerator<PackTensor> {
  const { checkpoint, recipe, calibration, onLayer } = options;
  const { linears, tables } = checkpoint.architecture;
  const transforms = new InputTransforms(checkpoint, recipe, calibration);
  const groups = orderGroups([...new Set([...linears, ...tables].map(({ group }) => group))]);
  const specs = groups.flatMap((group) => linears.filter((linear) => linear.group === group));
  const quantized = quantizeLayers({ ...options, transforms, specs });
  try {
    for (const group of groups) {
      for (const spec of specs.filter((linear) => linear.group === group)) {
        const layer = planOf(recipe, spec) ? (await quantized.next()).value! : undefined;
        onLayer(yield* encodeLinear(spec, layer, transforms, checkpoint));
        // An interrupt wants to be heard between two layers.
        await new Promise((resolve) => setImmediate(resolve));
      }
      for (const { name, shape } of tables.filter((table) => table.group === group)) {
        yield encodeFloat(name, shape, await checkpoint.tensors.get(name)!.read(), group);
      }
    }
  } finally {
    await quantized.return();
  }
}

/** What a forward needs first comes first: the start, the blocks in order, the end. */
function orderGroups(groups: readonly string[]): string[] {
  const rank = (group: string) =>
    group === 'start' ? -1 : group === 'end' ? Number.POSITIVE_INFINITY : Number(group.split('.')[1]);
  return [...groups].sort((a, b) => rank(a) - rank(b));
}
