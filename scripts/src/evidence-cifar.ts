/**
 * Pictures of the CIFAR-10 model, float32 and quantized, judged by a classifier of real ones. Takes hours on two cores and
 * minutes on many; what is done is kept in the folder of --work, so it may be stopped at any time and started again, here
 * or on a machine to which the folder was copied. Writes examples/cifar10/results/classes.json.
 *
 *   npm run evidence:cifar -- --threads 64
 *
 * Needs the checkpoints `cifar10-dit` and `cifar10-vit` and the real pictures, which are not part of this repository.
 */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { FsStore } from '@edge-dit/runtime/stores/fs';
import { openCheckpoint } from '@edge-dit/sdk/checkpoint/checkpoint';
import { type ClassEvaluation, evaluateClassModels } from '@edge-dit/sdk/evaluate/class-model';
import { FLOAT_REFERENCE, publishFloatReference } from '@edge-dit/sdk/evaluate/float-reference';
import { quantize } from '@edge-dit/sdk/quantize/quantize';
import { recipeByName } from '@edge-dit/sdk/recipes/index';

const root = fileURLToPath(new URL('../../', import.meta.url));
const { values: flags } = parseArgs({
  options: {
    /** Comma-separated: what to make of the checkpoint and evaluate. */
    recipes: { type: 'string', default: 'w8a8,vidit-q-w8a8,vidit-q-w4a8-mp' },
    /** Comma-separated: models that --work/store has already, for example of a mixed-precision search. */
    models: { type: 'string', default: '' },
    pictures: { type: 'string', default: '2000' },
    steps: { type: 'string', default: '20' },
    guidance: { type: 'string', default: '1.5' },
    threads: { type: 'string' },
    work: { type: 'string', default: join(root, '.edge-dit/evidence-cifar') },
    checkpoint: { type: 'string', default: join(root, '../shared/models/cifar10-dit') },
    classifier: { type: 'string', default: join(root, '../shared/models/cifar10-vit') },
    tests: { type: 'string', default: join(root, '../shared/fixtures/cifar10-test-1000.safetensors') },
    out: { type: 'string', default: join(root, 'examples/cifar10/results') },
  },
});
const listOf = (text: string) => text.split(',').filter((name) => name !== '');

const missing = [flags.checkpoint, flags.classifier, flags.tests].filter((path) => !existsSync(path));
if (missing.length > 0) console.log(`Nothing was evaluated: ${missing.join(', ')} is not here.`);
else write(await evaluate());

async function evaluate(): Promise<ClassEvaluation> {
  const folder = join(flags.work, 'store');
  const store = new FsStore(folder);
  const checkpoint = await openCheckpoint(flags.checkpoint);
  await publishFloatReference(checkpoint, store);
  for (const name of listOf(flags.recipes)) {
    console.log(`quantizing to ${name}`);
    const defaults = { steps: Number(flags.steps), guidance: Number(flags.guidance) };
    await quantize({ checkpoint, recipe: recipeByName(name), model: name, store, defaults, cache: flags.work });
  }
  await checkpoint.close();
  const started = performance.now();
  return evaluateClassModels({
    models: [...listOf(flags.recipes), ...listOf(flags.models)].map((model) => ({ place: folder, model })),
    reference: { place: folder, model: FLOAT_REFERENCE },
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

function write({ models, ...setting }: ClassEvaluation): void {
  mkdirSync(flags.out, { recursive: true });
  const command = `npm run evidence:cifar -- --recipes ${flags.recipes}${flags.models && ` --models ${flags.models}`}`;
  const document = { command, node: process.version, ...setting, models };
  writeFileSync(join(flags.out, 'classes.json'), `${JSON.stringify(document, null, 2)}\n`);
  console.table(
    models.map((row) => ({
      model: row.model,
      bytes: row.bytes,
      'to tests': row.frechetToTests.toFixed(4),
      'to float': row.frechetToReference.toFixed(4),
      'is its class': row.agreesWithClass.toFixed(3),
      'is as float': row.agreesWithReference.toFixed(3),
      'ms a step': row.msPerStep.toFixed(1),
    })),
  );
}
