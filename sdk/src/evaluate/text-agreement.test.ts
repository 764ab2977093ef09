import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { isEdgeDitError } from '@edge-dit/runtime/errors';
import { parseSafetensors, toFloat32 } from '@edge-dit/runtime/safetensors';
import { openCheckpoint } from '../checkpoint/checkpoint.ts';
import { nearestCaptions, summaryOf, textAgreement } from './text-agreement.ts';

const example = fileURLToPath(new URL('../../../examples/emoji/', import.meta.url));
const prompts = JSON.parse(readFileSync(`${example}prompts.json`, 'utf8')) as string[];
const { tensors } = parseSafetensors(new Uint8Array(readFileSync(`${example}fixtures/float-pictures.safetensors`)));
const picture = (index: number) => ({ width: 128, height: 128, values: toFloat32(tensors.get(`picture.${index}`)!) });

test('float pictures agree with their own prompts and with no others', async () => {
  const checkpoint = await openCheckpoint(`${example}model`);
  const seen: number[] = [];
  const result = await textAgreement({
    checkpoint,
    pictures: [picture(0), picture(4), picture(4)],
    prompts: [prompts[0], prompts[4], prompts[0]],
    candidates: 2,
    onPicture: (done) => seen.push(done),
  });
  await checkpoint.close();
  assert.deepEqual(
    result.pictures.map(({ agrees }) => agrees),
    [true, true, false],
  );
  assert.deepEqual(result.pictures[2].captions, [prompts[0], prompts[4]]);
  assert.ok(result.pictures[0].marginDb > 6 && result.pictures[2].marginDb < -6);
  assert.equal(result.share, 2 / 3);
  assert.deepEqual(seen, [1, 2, 3]);
  assert.equal(summaryOf(result.pictures.slice(2)).share, 0);
  // The same picture and captions twice: one's margin is the other's with the sign turned.
  assert.equal(result.pictures[2].errors[0], result.pictures[1].errors[1]);
});

test('the nearest captions are tried, equal ones once', () => {
  const embedding = (...data: number[]) => {
    return { count: 1, tokens: 2, channels: 2, data: Float32Array.of(...data, 9, 9), mask: Int32Array.of(1, 0) };
  };
  const all = [embedding(1, 0), embedding(0, 1), embedding(2, 0.1), embedding(1, 1), embedding(1, 0)];
  assert.deepEqual(nearestCaptions(0, [0, 1, 2, 3, 4], all, 3), [0, 2, 3]);
  assert.throws(() => nearestCaptions(0, [0, 1, 4], all, 3), /own caption and 1 others/);
});

test('a network that cannot judge is a typed error', async () => {
  const transformer = fileURLToPath(new URL('../../../runtime/fixtures/diffusers/dit/transformer', import.meta.url));
  const checkpoint = await openCheckpoint(transformer);
  const judged = textAgreement({ checkpoint, pictures: [picture(0)], prompts: ['a'] });
  await assert.rejects(judged, (error) => isEdgeDitError(error, 'checkpoint-not-found'));
  await assert.rejects(textAgreement({ checkpoint, pictures: [], prompts: [] }), /0 pictures with 0 prompts/);
  await checkpoint.close();
});
