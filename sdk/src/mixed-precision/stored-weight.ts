/** A layer's weight as an artifact of some recipe will store it: quantized, and what the codes stand for. */
import { expandCodes } from '@edge-dit/runtime/format/code-groups';
import type { LinearSpec } from '@edge-dit/runtime/models/architecture';
import type { CanonicalCheckpoint } from '../checkpoint/canonical.ts';
import { type InputTransforms, transformedWeight } from '../quantize/input-transforms.ts';
import { quantizeWeight } from '../quantize/quantize-weight.ts';
import { planOf, type Recipe } from '../recipes/recipe.ts';

export interface StoredWeight {
  /** Row-major [out, in], of inputs after their balance and rotation. */
  readonly weight: Float32Array;
  readonly balance?: Float32Array;
  readonly rotation?: Uint8Array;
  readonly bias?: Float32Array;
}

/** Of a layer that the recipe quantizes. */
export async function storedWeight(
  spec: LinearSpec,
  recipe: Recipe,
  transforms: InputTransforms,
  { tensors }: CanonicalCheckpoint,
): Promise<StoredWeight> {
  const { name, outFeatures, inFeatures } = spec;
  const plan = planOf(recipe, spec)!;
  const transform = await transforms.of(spec, plan);
  const { balance, rotation, moments } = transform;
  const float = transformedWeight(await tensors.get(`${name}.weight`)!.read(), spec, transform);
  const { codes, scale, zero, groups } = quantizeWeight(float, outFeatures, inFeatures, plan, moments);
  const expanded = groups ? expandCodes(codes, inFeatures, groups) : codes;
  const weight = Float32Array.from(expanded, (code, i) => {
    const n = Math.floor(i / inFeatures);
    return scale[n] * (code - zero[n]);
  });
  const bias = spec.bias ? await tensors.get(`${name}.bias`)!.read() : undefined;
  return { weight, balance, rotation, bias };
}
