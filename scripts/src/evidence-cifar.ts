/**
 * Pictures of the CIFAR-10 model, float32 and quantized, judged by a classifier of real ones. Takes hours on two cores and
 * minutes on many; what is done is kept in the folder of --work, so it may be stopped at any time and started again, here
 * or on a machine to which the folder was copied. Writes examples/cifar10/results/classes.json.
 *
 *   npm run evidence:cifar -- --threads 64
 *
 * Needs the checkpoints `cifar10-dit` and `cifar10-vit` and the real pictures, which are not part of this repository.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { isDeepStrictEqual, parseArgs } from 'node:util';
import { type ClassEvaluation, evaluateClassModels } from '@edge-dit/sdk/evaluate/class-model';
import { FLOAT_REFERENCE } from '@edge-dit/sdk/evaluate/float-reference';
import { recipeByName } from '@edge-dit/sdk/recipes/index';
import { quantizeRecipes } from './quantize-recipes.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));
const { values: flags } = parseArgs({
  options: {
    /** Comma-separated: what to make of the checkpoint and evaluate. */
    recipes: { type: 'string', default: 'vidit-q-w8a8,vidit-q-w4a8-mp' },
    /** Comma-separated: models that --work/store has already, for example of a mixed-precision search. */
    models: { type: 'string', default: '' },
    pictures: { type: 'string', default: '2000' },
    steps: { type: 'string', default: '20' },
    guidance: { type: 'string', default: '1.5' },
    threads: { type: 'string' },
    /** Leaves out the pictures of the float32 network, and the figures that compare with them. */
    'without-reference': { type: 'boolean', default: false },
    work: { type: 'string', default: join(root, '.edge-dit/evidence-cifar') },
    checkpoint: { type: 'string', default: join(root, '../shared/models/cifar10-dit') },
    classifier: { type: 'string', default: join(root, '../shared/models/cifar10-vit') },
    tests: { type: 'string', default: join(root, '../shared/fixtures/cifar10-test-1000.safetensors') },
    out: { type: 'string', default: join(root, 'examples/cifar10/results') },
  },
});
/** Of every recipe: what was published of this model was calibrated on all steps of a request. */
const CALIBRATION = { conditions: 32, steps: 20 };
const listOf = (text: string) => text.split(',').filter((name) => name !== '');

const missing = [flags.checkpoint, flags.classifier, flags.tests].filter((path) => !existsSync(path));
if (missing.length > 0) console.log(`Nothing was evaluated: ${missing.join(', ')} is not here.`);
else write(await evaluate());

async function evaluate(): Promise<ClassEvaluation> {
  const folder = join(flags.work, 'store');
  const recipes = listOf(flags.recipes).map((name) => ({ ...recipeByName(name), calibration: CALIBRATION }));
  const defaults = { steps: Number(flags.steps), guidance: Number(flags.guidance) };
  await quantizeRecipes({ path: flags.checkpoint, place: folder, recipes, cache: flags.work, defaults });
  const started = performance.now();
  return evaluateClassModels({
    models: [...listOf(flags.recipes), ...listOf(flags.models)].map((model) => ({ place: folder, model })),
    ...(flags['without-reference'] ? {} : { reference: { place: folder, model: FLOAT_REFERENCE } }),
    classifier: flags.classifier,
    tests: flags.tests,
    folder: join(flags.work, 'features'),
    pictures: Number(flags.pictures),
    steps: Number(flags.steps),
    guidance: Number(flags.guidance),
    threads: flags.threads === undefined ? undefined : Number(flags.threads),
    onPicture(model, done, total) {
      const minutes = ((performance.now() - started) / 60_000).toFixed(1);
      if (done % 20 === 0 || done === total) console.log(`${model}: ${done} of ${total} pictures, ${minutes} min`);
    },
  });
}

/** Models that were evaluated before, by the same setting, stay where they were not evaluated again. */
function write({ models, ...setting }: ClassEvaluation): void {
  mkdirSync(flags.out, { recursive: true });
  const path = join(flags.out, 'classes.json');
  const before = existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')) : {};
  const same = isDeepStrictEqual(
    [before.pictures, before.steps, before.guidance],
    [setting.pictures, setting.steps, setting.guidance],
  );
  const old: ClassEvaluation['models'] = same ? before.models : [];
  const kept = old.filter(({ model }) => !models.some((one) => one.model === model));
  const document = {
    command: 'npm run evidence:cifar',
    node: process.version,
    ...setting,
    models: [...kept, ...models],
  };
  writeFileSync(path, `${JSON.stringify(document, null, 2)}\n`);
  console.table(
    models.map((row) => ({
      model: row.model,
      bytes: row.bytes,
      'to tests': row.frechetToTests.toFixed(4),
      'to float': row.frechetToReference?.toFixed(4),
      'is its class': row.agreesWithClass.toFixed(3),
      'is as float': row.agreesWithReference?.toFixed(3),
      'ms a step': row.msPerStep.toFixed(1),
    })),
  );
}
