/**
 * Many models of one checkpoint, on all cores: what all share, the calibration and the measurements of a search, is made first;
 * then each worker quantizes to one recipe after another.
 */
import { canonicalCheckpoint } from '@edge-dit/sdk/checkpoint/canonical';
import { openCheckpoint } from '@edge-dit/sdk/checkpoint/checkpoint';
import { FLOAT_REFERENCE, publishFloatReference } from '@edge-dit/sdk/evaluate/float-reference';
import { type QuantizeOptions, recipeBitMap } from '@edge-dit/sdk/quantize/quantize';
import { recipeCalibration } from '@edge-dit/sdk/quantize/recipe-calibration';
import type { Recipe } from '@edge-dit/sdk/recipes/recipe';
import { openWritableStore } from '@edge-dit/sdk/stores';
import { shareJobs } from '@edge-dit/sdk/threads/share-jobs';
import type { QuantizeJob } from './quantize-recipes-worker.ts';

export interface QuantizeRecipesOptions {
  /** Of the checkpoint. */
  readonly path: string;
  /** The store, as `openWritableStore` takes it; models are called as their recipes. */
  readonly place: string;
  readonly recipes: readonly Recipe[];
  readonly cache: string;
  readonly defaults?: QuantizeOptions['defaults'];
}

/** Publishes the float reference and a model for each recipe. */
export async function quantizeRecipes(options: QuantizeRecipesOptions): Promise<void> {
  const { path, place, recipes, cache, defaults = { steps: 20, guidance: 3 } } = options;
  const checkpoint = await openCheckpoint(path);
  const jobs: QuantizeJob[] = [];
  try {
    await publishFloatReference(checkpoint, openWritableStore(place));
    console.error(`${FLOAT_REFERENCE} is published`);
    const { architecture } = canonicalCheckpoint(checkpoint);
    for (const recipe of recipes) {
      const { guidance } = defaults;
      const onCalibrate = every(40, (done, total) => `calibrating: ${done} of ${total} steps`);
      const calibration = await recipeCalibration({ checkpoint, recipe, guidance, cache, onCalibrate }, architecture);
      const onMeasure = every(20, (done, total) => `${recipe.name}: ${done} of ${total} measurements`);
      const search = { onMeasure };
      const bitMap = await recipeBitMap({ checkpoint, recipe, defaults, cache, search }, calibration);
      jobs.push({ path, place, recipe, cache, defaults, bitMap });
    }
  } finally {
    await checkpoint.close();
  }
  await shareJobs<QuantizeJob, string>({
    module: new URL('quantize-recipes-worker.js', import.meta.url),
    data: undefined,
    jobs,
    onResult: (digest, i) => console.error(`quantized to ${jobs[i].recipe.name}: ${digest}`),
  });
}

const every = (n: number, say: (done: number, total: number) => string) => (done: number, total: number) => {
  if (done % n === 0 || done === total) console.error(say(done, total));
};
