import assert from 'node:assert/strict';
import { test } from 'node:test';
import { byRole, costsOf, divideBytes } from './divide-bytes.ts';
import type { Measurement } from './measurement-file.ts';

const names = ['to_q', 'to_k'].flatMap((part) => [
  `transformer_blocks.0.attn1.${part}`,
  `transformer_blocks.0.attn2.${part}`,
]);
const bytes = names.map(() => [64, 128]);

test('layers have roles by their names', () => {
  const roles = byRole([...names, 'transformer_blocks.0.ff.net.2'], true);
  assert.deepEqual(
    roles.map(({ metric, members }) => [metric, members]),
    [
      ['text', [1, 3]],
      ['picture', [0, 2, 4]],
    ],
  );
  assert.deepEqual(
    byRole([names[0]], false).map(({ metric }) => metric),
    ['picture'],
  );
});

test('the error of pictures divides bytes among roles, the own metric inside of them', async () => {
  // Of pictures, attn2.to_q loses most and attn1.to_k next; of the text, attn2.to_k.
  const costs = {
    picture: [
      [1, 0],
      [9, 0],
      [5, 0],
      [1, 0],
    ],
    text: [
      [0, 0],
      [1, 0],
      [0, 0],
      [7, 0],
    ],
  };
  assert.deepEqual(await divideBytes(names, bytes, costs, 6 * 64, false), [0, 1, 1, 0]);
  assert.deepEqual(await divideBytes(names, bytes, costs, 6 * 64, true), [0, 0, 1, 1]);
  assert.deepEqual(await divideBytes(names, bytes, costs, 8 * 64, true), [1, 1, 1, 1]);
  assert.deepEqual(await divideBytes(names, bytes, costs, 4 * 64, true), [0, 0, 0, 0]);
});

test('what a role leaves, the last one takes', async () => {
  const free = { picture: names.map(() => [2, 0]), text: names.map(() => [0, 1]) };
  const chosen = await divideBytes(names, bytes, free, 7 * 64, true);
  assert.deepEqual(chosen, [1, 0, 1, 0]);
});

test('costs are shares in the error of the narrowest width everywhere', () => {
  const of = (layer: string, bits: 4 | 6, picture: number): Measurement => ({ layer, bits, picture, text: 0 });
  const measurements = [of('a', 4, 3), of('a', 6, 0.3), of('b', 4, 1), of('b', 6, 0.1)];
  const costs = costsOf(measurements, 'picture', [4, 6, 8]);
  assert.deepEqual(
    costs.map(([narrow]) => narrow),
    [3 / 4, 1 / 4],
  );
  for (const [narrow, middle, wide] of costs) {
    assert.ok(Math.abs(middle / narrow - 0.1) < 1e-12);
    assert.ok(Math.abs(wide / middle - (63 / 255) ** 2) < 1e-12);
  }
  assert.ok(
    costsOf(measurements, 'text', [4, 6, 8])
      .flat()
      .every((cost) => cost === 0),
  );
});
