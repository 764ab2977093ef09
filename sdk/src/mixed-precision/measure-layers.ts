/**
 * How much each layer's rounding changes pictures, one layer and one width at a time: the float network answers with that
 * one weight as it would be stored, in states of its own way to pictures, and is compared with itself.
 *
 * What an error of a step does to the picture is measured once for all layers, the gain of the step: early errors are
 * larger and may grow on the way. Whole runs with each layer would have that in them, and more of it than can be used: how a
 * single small change grows is a matter of chance, which differs threefold between prompts (measured), so that errors of
 * single answers, weighted by gains, foretell the error over many prompts better, for as many calls of the network.
 * Activations stay in float: they err as much at every width of the weights, and where they are rounded, a small change
 * of a value becomes one of a whole step now and then, by which a layer's error would grow with the change and not with
 * its square, so that all layers would look alike.
 */
import type { CodeBits } from '@edge-dit/runtime/engines/engine';
import type { LinearSpec } from '@edge-dit/runtime/models/architecture';
import { isGuided } from '@edge-dit/runtime/sample';
import { createSampler } from '@edge-dit/runtime/samplers/index';
import { schedulerOf } from '../calibrate/calibrate.ts';
import type { Calibration } from '../calibrate/calibration.ts';
import { embedder } from '../calibrate/embed-conditions.ts';
import type { CanonicalCheckpoint } from '../checkpoint/canonical.ts';
import type { Checkpoint } from '../checkpoint/checkpoint.ts';
import { InputTransforms } from '../quantize/input-transforms.ts';
import { planOf, type Recipe } from '../recipes/recipe.ts';
import { shareJobs } from '../threads/share-jobs.ts';
import { withBits } from './bit-map.ts';
import type { LessonJob, LessonThread } from './lesson-worker.ts';
import { type Errors, gainsOf, type Lesson } from './lessons.ts';
import type { Measurement, MeasurementFile } from './measurement-file.ts';
import type { SensitivityJob, SensitivityThread } from './sensitivity-worker.ts';
import { weightToStore } from './stored-weight.ts';

/** What the network is run on; condition i starts from the noise of seed + i. */
export interface Sample {
  readonly conditions: readonly (string | number)[];
  readonly steps: number;
  readonly guidance: number;
  readonly seed: number;
}

export interface MeasureOptions {
  readonly checkpoint: Checkpoint;
  readonly canonical: CanonicalCheckpoint;
  readonly recipe: Recipe;
  readonly calibration?: Calibration;
  readonly layers: readonly LinearSpec[];
  readonly widths: readonly CodeBits[];
  readonly sample: Sample;
  /** What it has is not measured again. */
  readonly file: MeasurementFile;
  /** Default: one for each core. Each holds the network in float32. */
  readonly threads?: number;
  readonly signal?: AbortSignal;
  /** Conditions that the float network has run, before anything is measured. */
  readonly onLesson?: (done: number, total: number) => void;
  /** Measurements that are done, of how many, and how many of them were there from before. */
  readonly onMeasure?: (done: number, total: number, found: number) => void;
}

/** Every layer at every width, by layer, then by width. */
export async function measureLayers(options: MeasureOptions): Promise<Measurement[]> {
  const { layers, widths, file } = options;
  const all = layers.flatMap((spec) => widths.map((bits) => ({ spec, bits })));
  const missing = all.filter(({ spec, bits }) => file.get(spec.name, bits) === undefined);
  if (missing.length > 0) await measure(options, missing, all.length);
  return all.map(({ spec, bits }) => file.get(spec.name, bits)!);
}

async function measure(
  options: MeasureOptions,
  missing: readonly { spec: LinearSpec; bits: CodeBits }[],
  total: number,
): Promise<void> {
  const { canonical, recipe, calibration, layers, widths, file, threads, signal, onMeasure } = options;
  const transforms = new InputTransforms(canonical, recipe, calibration);
  // A balance that is searched for is another for each width; moments are all the same, and worth sharing.
  const searched = layers.some((spec) => planOf(recipe, spec)?.balance?.alpha === 'search');
  const uniform = new Map(
    widths.map((bits) => {
      const changed = withBits(recipe, new Map(layers.map(({ name }) => [name, bits])));
      const own = searched ? new InputTransforms(canonical, changed, calibration) : transforms;
      return [bits, { recipe: changed, transforms: own }];
    }),
  );
  const found = total - missing.length;
  let done = found;
  const thread = await prepare(options);
  onMeasure?.(done, total, found);
  await shareJobs<(typeof missing)[number], Errors>({
    module: new URL('sensitivity-worker.js', import.meta.url),
    data: thread,
    jobs: missing,
    threads,
    signal,
    prepare: async ({ spec, bits }): Promise<SensitivityJob> => {
      const { recipe: changed, transforms: own } = uniform.get(bits)!;
      return { layer: spec.name, toStore: await weightToStore(spec, changed, own, canonical) };
    },
    onResult: (errors, i) => {
      const { spec, bits } = missing[i];
      file.add({ layer: spec.name, bits, ...errors });
      onMeasure?.(++done, total, found);
    },
  });
}

/** What the float network answers, for all measurements. */
async function prepare({
  checkpoint,
  canonical,
  layers,
  sample,
  threads,
  signal,
  onLesson,
}: MeasureOptions): Promise<SensitivityThread> {
  const { conditions, steps, guidance, seed } = sample;
  const { path } = checkpoint;
  const schedulerConfig = schedulerOf(checkpoint);
  const embed = embedder(checkpoint, canonical.architecture.geometry);
  const jobs: LessonJob[] = [];
  for (const [index, condition] of conditions.entries()) {
    jobs.push({ index, seed: seed + index, conditions: await embed(condition, isGuided(guidance)) });
  }
  const lessons: Lesson[][] = [];
  let done = 0;
  await shareJobs<LessonJob, Lesson[]>({
    module: new URL('lesson-worker.js', import.meta.url),
    data: { path, schedulerConfig, steps, guidance, layers: layers.map(({ name }) => name) } satisfies LessonThread,
    jobs,
    threads,
    signal,
    onResult: (given, i) => {
      lessons[i] = given;
      onLesson?.(++done, jobs.length);
    },
  });
  return {
    path,
    guidance,
    schedule: createSampler(schedulerConfig, steps).timesteps,
    conditions: jobs.map((job, i) => ({ conditions: job.conditions, lessons: lessons[i] })),
    gains: gainsOf(lessons.flat()),
  };
}
