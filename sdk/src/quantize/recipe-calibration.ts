/** The calibration that a recipe needs: one that was made before, or one made now and kept for the next time. */
import { createHash } from 'node:crypto';
import { access, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { EdgeDitError } from '@edge-dit/runtime/errors';
import type { ConfiguredArchitecture } from '@edge-dit/runtime/models/architecture';
import { type CalibrateOptions, calibrate, settingsOf } from '../calibrate/calibrate.ts';
import { calibrateToFile } from '../calibrate/calibrate-to-file.ts';
import { type Calibration, checkpointDigest } from '../calibrate/calibration.ts';
import { readCalibration } from '../calibrate/calibration-file.ts';
import { defaultConditions } from '../calibrate/default-conditions.ts';
import { evenly } from '../calibrate/evenly.ts';
import type { Checkpoint } from '../checkpoint/checkpoint.ts';
import { calibrationNeeds, type Recipe } from '../recipes/recipe.ts';

export interface RecipeCalibrationOptions {
  readonly checkpoint: Checkpoint;
  readonly recipe: Recipe;
  /** Of a request that does not say. */
  readonly guidance: number;
  /** One that was made before, or how to make it. Conditions default to the checkpoint's own. */
  readonly calibration?: Calibration | Partial<Pick<CalibrateOptions, 'conditions' | 'steps' | 'guidance' | 'seed'>>;
  /** Folder for calibrations: one that was stopped goes on, one with the same settings is used again. */
  readonly cache?: string;
  readonly signal?: AbortSignal;
  readonly onCalibrate?: CalibrateOptions['onStep'];
}

/** Conditions and steps that maxima of channels want, and those that second moments want, measured in pictures; where a recipe says nothing. */
const FOR_MAXIMA = { conditions: 8, steps: 10 };
const FOR_MOMENTS = { conditions: 32, steps: 20 };

/**
 * undefined for recipes that need none, and where there is nothing to calibrate on.
 * @throws `invalid-argument` for a calibration of another checkpoint, or one that lacks second moments
 */
export async function recipeCalibration(
  options: RecipeCalibrationOptions,
  { linears, geometry }: ConfiguredArchitecture,
): Promise<Calibration | undefined> {
  const { checkpoint, recipe, guidance, calibration, cache, signal, onCalibrate } = options;
  const { any, moments } = calibrationNeeds(recipe, linears);
  if (!any) return undefined;
  if (calibration && 'groups' in calibration) return suitable(calibration, checkpoint, recipe, moments);
  const usual = recipe.calibration ?? (moments ? FOR_MOMENTS : FOR_MAXIMA);
  const conditions = calibration?.conditions ?? (await defaultConditions(checkpoint, geometry));
  if (!conditions) return undefined;
  const { steps } = usual;
  const settings = { steps, guidance, ...calibration, conditions: evenly(conditions, usual.conditions) };
  const run = { checkpoint, moments, signal, onStep: onCalibrate, ...settings };
  return cache === undefined ? calibrate(run) : cached(run, cache);
}

async function suitable(calibration: Calibration, checkpoint: Checkpoint, { name }: Recipe, moments: boolean) {
  if (calibration.checkpoint !== (await checkpointDigest(checkpoint))) {
    throw new EdgeDitError(
      'invalid-argument',
      `the calibration is of another checkpoint than "${checkpoint.path}"; make one with "edge-dit calibrate".`,
    );
  }
  if (moments && !calibration.moments) {
    throw new EdgeDitError(
      'invalid-argument',
      `the calibration has no second moments, which recipe ${name} needs; make one with "edge-dit calibrate --moments".`,
    );
  }
  return calibration;
}

async function cached(run: CalibrateOptions, folder: string): Promise<Calibration> {
  const settings = JSON.stringify(await settingsOf(run));
  const name = createHash('sha256').update(settings).digest('hex').slice(0, 32);
  const out = join(folder, 'calibrations', `${name}.safetensors`);
  const known = await access(out).then(
    () => true,
    () => false,
  );
  if (known) return readCalibration(out);
  await mkdir(join(folder, 'calibrations'), { recursive: true });
  return calibrateToFile({ ...run, out });
}
