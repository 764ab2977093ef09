import assert from 'node:assert/strict';
import { appendFile, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { isEdgeDitError } from '@edge-dit/runtime/errors';
import { philox4x32 } from '@edge-dit/runtime/noise';
import { type SafetensorsTensor, serializeSafetensors } from '@edge-dit/runtime/safetensors';
import { FsStore } from '@edge-dit/runtime/stores/fs';
import { openCheckpoint } from '../checkpoint/checkpoint.ts';
import { makeTinyPipeline } from '../cli/testing/tiny-pipeline.ts';
import { quantize } from '../quantize/quantize.ts';
import { recipeByName } from '../recipes/index.ts';
import { makeTinyClassifier } from '../testing/tiny-classifier.ts';
import { type ClassEvaluation, evaluateClassModels } from './class-model.ts';
import { FeatureFile } from './feature-file.ts';

const PICTURES = 4;
const root = await mkdtemp(join(tmpdir(), 'edge-dit-classes-'));
after(() => rm(root, { recursive: true }));

/** Pictures of random bytes. */
async function writeTests(path: string, count: number): Promise<string> {
  const words = new Uint32Array(4);
  const images = new Uint8Array(count * 32 * 32 * 3);
  for (let i = 0; i < images.length; i += 4) {
    words.set([i, 0, 0, 0]);
    philox4x32(words, 1, 2);
    images.set(words, i);
  }
  const labels = new Uint8Array(Int32Array.from({ length: count }, (_, i) => i % 11).buffer);
  const tensors = new Map<string, SafetensorsTensor>([
    ['images', { dtype: 'U8', shape: [count, 32, 32, 3], bytes: images }],
    ['labels', { dtype: 'I32', shape: [count], bytes: labels }],
  ]);
  await writeFile(path, serializeSafetensors(tensors));
  return path;
}

test('an evaluation that was broken off goes on, and gives the figures of one that was not', async () => {
  const store = join(root, 'store');
  const checkpoint = await openCheckpoint(await makeTinyPipeline(root, 'dit'));
  for (const model of ['f16', 'w4a8']) {
    await quantize({ checkpoint, recipe: recipeByName(model), model, store: new FsStore(store) });
  }
  await checkpoint.close();
  const base = {
    models: ['f16', 'w4a8'].map((model) => ({ place: store, model })),
    reference: { place: store, model: 'f16' },
    classifier: await makeTinyClassifier(join(root, 'classifier')),
    tests: await writeTests(join(root, 'tests.safetensors'), 8),
    pictures: PICTURES,
    steps: 2,
    threads: 2,
  };
  const folder = join(root, 'features');
  const stopped = new AbortController();
  const first = evaluateClassModels({
    ...base,
    folder,
    signal: stopped.signal,
    onPicture: (model, done) => model === 'w4a8' && done === 1 && stopped.abort(),
  });
  await assert.rejects(first, (error) => isEdgeDitError(error, 'aborted'));
  // As a process leaves it that is killed while it writes.
  for (const name of await readdir(folder)) await appendFile(join(folder, name), 'half a record');
  const seen: string[] = [];
  const onPicture = (model: string, done: number) => void seen.push(`${model} ${done}`);
  const resumed = await evaluateClassModels({ ...base, folder, onPicture });
  assert.equal(seen[0], `f16 ${PICTURES}`);
  assert.ok(!seen.includes('w4a8 0') && seen.at(-1) === `w4a8 ${PICTURES}`, seen.join());

  const whole = await evaluateClassModels({ ...base, folder: join(root, 'others'), threads: 1 });
  const timeless = ({ models, ...rest }: ClassEvaluation) => {
    return { ...rest, models: models.map(({ msPerStep, ...figures }) => figures) };
  };
  assert.deepEqual(timeless(resumed), timeless(whole));
  const [float, quantized] = resumed.models;
  assert.equal(float.agreesWithReference, 1);
  assert.ok(float.frechetToReference! < 1e-4 && quantized.frechetToReference! > 1e-3);
  assert.ok(float.frechetToTests > 0 && quantized.bytes < float.bytes && quantized.msPerStep > 0);
  const classes = await makeTinyClassifier(join(root, 'other classes'), { num_classes: 10 });
  await assert.rejects(evaluateClassModels({ ...base, folder, classifier: classes }), /f16 is a model of 11 classes/);
});

test('a file of records is read back to the bit, and refused under another setting', async () => {
  const path = join(root, 'own', 'one.features');
  const setting = { features: 2, classes: 1, of: { model: 'a', steps: 3 } };
  const record = { features: Float32Array.of(0.1, -2), logits: Float32Array.of(7), msPerStep: 12.5 };
  const file = new FeatureFile(path, setting);
  file.add(5, record);
  file.add(2, { ...record, msPerStep: 1 });
  const { size } = await stat(path);
  await appendFile(path, new Uint8Array(7));
  const again = new FeatureFile(path, setting);
  assert.equal(again.size, 2);
  assert.ok(again.has(5) && !again.has(0));
  assert.deepEqual(again.get(5), record);
  assert.equal((await stat(path)).size, size);
  assert.throws(
    () => new FeatureFile(path, { ...setting, of: { model: 'b', steps: 3 } }),
    /one\.features holds features of something else/,
  );
});
