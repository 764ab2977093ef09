import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { ReferenceEngine } from '@edge-dit/runtime/engines/reference';
import { isEdgeDitError } from '@edge-dit/runtime/errors';
import { gaussianNoise } from '@edge-dit/runtime/noise';
import { parseSafetensors, toFloat32, toInt32 } from '@edge-dit/runtime/safetensors';
import { openCheckpoint } from '../checkpoint/checkpoint.ts';
import { relativeError } from '../parity.ts';
import { makeTinyClassifier } from '../testing/tiny-classifier.ts';
import { loadClassifier, openClassifier } from './classifier.ts';

const shared = fileURLToPath(new URL('../../../../shared/', import.meta.url));
const trained = `${shared}models/cifar10-vit`;
const recorded = `${shared}fixtures/cifar10-test-1000.safetensors`;
const absent = [trained, recorded].find((path) => !existsSync(path));
/** Of the 1,000 recorded pictures. */
const COUNT = 64;

const folder = await mkdtemp(join(tmpdir(), 'edge-dit-classifier-'));
after(() => rm(folder, { recursive: true }));
const tiny = await makeTinyClassifier(join(folder, 'tiny'));

test('the wasm engine classifies as the reference does, and a picture alone as among others', async () => {
  const pictures = gaussianNoise(5, 0, 3 * 3 * 32 * 32);
  const checkpoint = await openCheckpoint(tiny);
  const standard = await loadClassifier(checkpoint, new ReferenceEngine());
  await checkpoint.close();
  const expected = await standard.classify(pictures);
  const classifier = await openClassifier(tiny);
  const got = await classifier.classify(pictures);
  assert.equal(got.features.length, 3 * 32);
  assert.equal(got.logits.length, 3 * 11);
  assert.ok(relativeError(got.features, expected.features) < 1e-5);
  assert.ok(relativeError(got.logits, expected.logits) < 1e-5);
  // Asked at once, they take turns.
  const alone = await Promise.all(
    [0, 1, 2].map((i) => classifier.classify(pictures.subarray(3072 * i, 3072 * (i + 1)))),
  );
  assert.deepEqual(Float32Array.from(alone.flatMap(({ logits }) => [...logits])), got.logits);
  await assert.rejects(classifier.classify(pictures.subarray(1)), /are no pictures \[3, 32, 32\]/);
});

test('what is no classifier of ours is a typed error', async () => {
  const transformer = fileURLToPath(new URL('../../../runtime/fixtures/diffusers/dit/transformer', import.meta.url));
  await assert.rejects(openClassifier(transformer), (error) => isEdgeDitError(error, 'unknown-name'));
});

const skip = absent === undefined ? false : `${absent} is not part of this repository`;
test(`the CIFAR-10 classifier gives the recorded logits for ${COUNT} real pictures`, { skip }, async () => {
  const { tensors } = parseSafetensors(new Uint8Array(readFileSync(recorded)));
  const { bytes } = tensors.get('images')!;
  const pictures = Float32Array.from({ length: COUNT * 3072 }, (_, i) => {
    const [index, channel, pixel] = [Math.floor(i / 3072), Math.floor(i / 1024) % 3, i % 1024];
    return bytes[3072 * index + 3 * pixel + channel] / 127.5 - 1;
  });
  const { logits } = await (await openClassifier(trained)).classify(pictures);
  assert.ok(relativeError(logits, toFloat32(tensors.get('logits')!).subarray(0, 10 * COUNT)) < 2e-6);
  const labels = toInt32(tensors.get('labels')!);
  const right = [...labels.subarray(0, COUNT)].filter((label, i) => {
    const row = logits.subarray(10 * i, 10 * (i + 1));
    return row.indexOf(Math.max(...row)) === label;
  });
  assert.ok(right.length / COUNT > 0.8, `${right.length} of ${COUNT}`);
});
