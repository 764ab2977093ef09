/** A layer's weight as an artifact of some recipe will store it: what is rounded, and what the codes stand for. */
import { expandCodes } from '@edge-dit/runtime/format/code-groups';
import type { LinearSpec } from '@edge-dit/runtime/models/architecture';
import type { CanonicalCheckpoint } from '../checkpoint/canonical.ts';
import { type InputTransform, type InputTransforms, transformedWeight } from '../quantize/input-transforms.ts';
import { quantizeWeight } from '../quantize/quantize-weight.ts';
import { type LayerPlan, planOf, type Recipe } from '../recipes/recipe.ts';

/** Before it is rounded; plain data, which threads hand to each other. */
export interface WeightToStore {
  readonly plan: LayerPlan;
  /** Row-major [out, in], of inputs after their balance and rotation. */
  readonly weight: Float32Array;
  readonly transform: InputTransform;
  readonly bias?: Float32Array;
}

/** Of a layer that the recipe quantizes. */
export async function weightToStore(
  spec: LinearSpec,
  recipe: Recipe,
  transforms: InputTransforms,
  { tensors }: CanonicalCheckpoint,
): Promise<WeightToStore> {
  const plan = planOf(recipe, spec)!;
  const transform = await transforms.of(spec, plan);
  const weight = transformedWeight(await tensors.get(`${spec.name}.weight`)!.read(), spec, transform);
  const bias = spec.bias ? await tensors.get(`${spec.name}.bias`)!.read() : undefined;
  return { plan, weight, transform, bias };
}

/** What its codes stand for: row-major [out, in], of inputs after their balance and rotation. */
export function storedWeight({ outFeatures, inFeatures }: LinearSpec, { plan, weight, transform }: WeightToStore) {
  const { codes, scale, zero, groups } = quantizeWeight({
    weight,
    outFeatures,
    inFeatures,
    plan,
    moments: transform.moments,
  });
  const expanded = groups ? expandCodes(codes, inFeatures, groups) : codes;
  return Float32Array.from(expanded, (code, i) => {
    const n = Math.floor(i / inFeatures);
    return scale[n] * (code - zero[n]);
  });
}
