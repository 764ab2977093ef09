/** A map of widths that lies in a checkpoint's folder, as its example prompts do: found once, by whoever publishes the checkpoint. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { EdgeDitError } from '@edge-dit/runtime/errors';
import { checkpointDigest } from '../calibrate/calibration.ts';
import type { Checkpoint } from '../checkpoint/checkpoint.ts';
import type { Recipe } from '../recipes/recipe.ts';
import { type BitMap, parseBitMap } from './bit-map.ts';

const FOLDER = 'bit_maps';

/**
 * `bit_maps/<recipe>.json`; undefined where there is none, and where it was searched for another budget or other widths
 * than the recipe has, so that those are searched for.
 * @throws `checkpoint-mismatch` for a map of other weights; `invalid-argument` for what is no map
 */
export async function shippedMap(checkpoint: Checkpoint, { name, mixed }: Recipe): Promise<BitMap | undefined> {
  const path = join(checkpoint.path, FOLDER, `${name}.json`);
  const bytes = await readFile(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return undefined;
    throw new EdgeDitError('invalid-argument', `${path} cannot be read: ${error.message}.`, { cause: error });
  });
  if (bytes === undefined) return undefined;
  const map = parseBitMap(bytes, path);
  const { search } = map;
  if (search?.checkpoint !== (await checkpointDigest(checkpoint))) {
    throw new EdgeDitError(
      'checkpoint-mismatch',
      `${path} was not searched for these weights; remove it, or put there what "edge-dit mix" finds for them.`,
    );
  }
  const sameWidths = mixed?.bits === undefined || String(search.candidates) === String(mixed.bits);
  return search.budget === mixed?.budget && sameWidths ? map : undefined;
}
