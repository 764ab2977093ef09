/**
 * The layers of a recipe, one after another, each with its codes. What takes long, weights that second moments decide
 * about, is done by threads ahead of whoever takes them, and is kept until all are stored: a run that was killed goes on.
 */
import type { LinearSpec } from '@edge-dit/runtime/models/architecture';
import type { CanonicalCheckpoint } from '../checkpoint/canonical.ts';
import { type LayerPlan, planOf, type Recipe } from '../recipes/recipe.ts';
import { inOrder } from '../threads/in-order.ts';
import { type InputTransform, type InputTransforms, scaledWeight, transformedWeight } from './input-transforms.ts';
import type { KeptCodes } from './kept-codes.ts';
import { type QuantizedWeight, type QuantizeWeight, quantizeWeight } from './quantize-weight.ts';

export interface QuantizedLayer {
  readonly plan: LayerPlan;
  readonly transform: Omit<InputTransform, 'moments'>;
  /** By GPTQ, and not each weight by itself. */
  readonly byGptq: boolean;
  readonly weight: QuantizedWeight;
}

export interface QuantizeLayersOptions {
  readonly checkpoint: CanonicalCheckpoint;
  readonly recipe: Recipe;
  readonly transforms: InputTransforms;
  /** Layers, in the order in which they are wanted; those that stay in float are left out. */
  readonly specs: readonly LinearSpec[];
  /** What was quantized before, and what will be. */
  readonly kept?: KeptCodes;
  /** Default: one for each core. */
  readonly threads?: number;
  readonly signal?: AbortSignal;
}

/** Beside those that threads hold: one layer is large where memory matters. */
const AHEAD = 2;

export async function* quantizeLayers(options: QuantizeLayersOptions): AsyncGenerator<QuantizedLayer, void, undefined> {
  const { checkpoint, recipe, transforms, specs, kept, threads, signal } = options;
  const prepare = async (spec: LinearSpec): Promise<QuantizeWeight> => {
    const { name, outFeatures, inFeatures } = spec;
    const plan = planOf(recipe, spec)!;
    const transform = await transforms.of(spec, plan);
    const read = await checkpoint.tensors.get(`${name}.weight`)!.read();
    const weight = scaledWeight(read, inFeatures, await transforms.outputScale(spec));
    const { moments } = transform;
    return { weight: transformedWeight(weight, spec, transform), outFeatures, inFeatures, plan, moments };
  };
  const planned = specs.filter((spec) => planOf(recipe, spec) !== undefined);
  const long = new Set(planned.filter((spec) => transforms.usesMoments(spec, planOf(recipe, spec)!)));
  const computed = inOrder<LinearSpec, QuantizedWeight>({
    module: new URL('weight-worker.js', import.meta.url),
    data: undefined,
    jobs: [...long].filter(({ name }) => !kept?.has(name)),
    ahead: AHEAD,
    threads,
    signal,
    prepare,
  });
  try {
    for (const spec of planned) {
      const plan = planOf(recipe, spec)!;
      const weight = await (async () => {
        if (!long.has(spec)) return quantizeWeight(await prepare(spec));
        if (kept?.has(spec.name)) return kept.read(spec.name);
        const { value } = await computed.next();
        await kept?.write(spec.name, value!);
        return value!;
      })();
      const transform = await transforms.withoutMoments(spec, plan);
      yield { plan, transform, byGptq: long.has(spec) && plan.rounding === 'gptq', weight };
    }
  } finally {
    await computed.return();
  }
}
