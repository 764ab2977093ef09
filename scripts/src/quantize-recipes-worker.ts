/** One thread of `quantizeRecipes`. */
import { openCheckpoint } from '@edge-dit/sdk/checkpoint/checkpoint';
import { type QuantizeOptions, quantize } from '@edge-dit/sdk/quantize/quantize';
import { openWritableStore } from '@edge-dit/sdk/stores';
import { serveJobs } from '@edge-dit/sdk/threads/serve-jobs';

export interface QuantizeJob extends Pick<QuantizeOptions, 'recipe' | 'bitMap' | 'defaults'> {
  readonly path: string;
  readonly place: string;
  readonly cache: string;
}

/** Answers with the digest of the manifest. */
serveJobs(async ({ path, place, recipe, ...options }: QuantizeJob): Promise<string> => {
  const checkpoint = await openCheckpoint(path);
  try {
    const store = openWritableStore(place);
    return (await quantize({ ...options, checkpoint, recipe, model: recipe.name, store })).digest;
  } finally {
    await checkpoint.close();
  }
});
