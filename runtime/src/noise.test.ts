/** The noise generator against Random123's known answers, the table that FORMAT.md quotes, and the normal distribution. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isEdgeDitError } from './errors.ts';
import { gaussianNoise, noiseStream, philox4x32 } from './noise.ts';

function hex(words: Uint32Array): string {
  return Array.from(words, (word) => word.toString(16).padStart(8, '0')).join(' ');
}

function hexOfFloats(values: Float32Array): string {
  return hex(new Uint32Array(values.buffer, values.byteOffset, values.length));
}

test('Philox4x32-10 gives the known answers', () => {
  const known: [number[], [number, number], string][] = [
    [[0, 0, 0, 0], [0, 0], '6627e8d5 e169c58d bc57ac4c 9b00dbd8'],
    [Array(4).fill(0xffffffff), [0xffffffff, 0xffffffff], '408f276d 41c83b0e a20bc7c6 6d5451fd'],
    [[0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344], [0xa4093822, 0x299f31d0], 'd16cfe09 94fdcceb 5001e420 24126ea1'],
  ];
  for (const [counter, [key0, key1], expected] of known) {
    const words = new Uint32Array(counter);
    philox4x32(words, key0, key1);
    assert.equal(hex(words), expected);
  }
});

/** Seed, stream and the bits of the first 8 values. Part of the format: a change changes what a seed means. */
const table: [number | bigint, number, string][] = [
  [0, 0, '3f7dbb33 bf6cb6b0 bf1e1b9f bef6d1b2 be1d5357 3e392a6d 3f54ec98 3e4a2da3'],
  [1, 0, '3ec2c3e3 be97b1bc be7f370c bf807dbd 3f207fa8 bf224cc3 bf2da335 bf81aca0'],
  [1, 1, 'be290243 402b4aed bfc7a949 3f4140d4 3fcad0b4 bf24a444 bec2903a 3f01bc2d'],
  [42, 0, 'bf785e5c 3e46ace8 bf9e28d2 3ff6433b bd95e030 3e0e7a0f bf8da733 3ea742fd'],
  [42, 4096, '3f4912a5 3f913b7b 3e33df58 3eec8eeb 3f7c1e15 3f6a4244 3d8d84a4 3f771ae5'],
  [18446744073709551615n, 0, '3f8c9ec9 3f21de8f 3f255714 3f3ac13d bf174864 40038e29 bf33358c bf3265e8'],
  [81985529216486895n, 4294967301, '3f1f348b be3200b6 3f12abb7 bed35cbd 3f00e0f3 4017ae8d 3e80d3cd 3e701e40'],
];

for (const [seed, stream, expected] of table) {
  test(`seed ${seed}, stream ${stream} gives the recorded values`, () => {
    assert.equal(hexOfFloats(gaussianNoise(seed, stream, 8)), expected);
  });
}

test('a value depends on its place, not on the length', () => {
  const long = gaussianNoise(9, 3, 103);
  for (const length of [0, 1, 2, 3, 4, 5, 102]) {
    assert.deepEqual(gaussianNoise(9, 3, length), long.slice(0, length));
  }
  assert.deepEqual(gaussianNoise(9n, 3, 103), long);
});

test('seeds and streams give unrelated values of unit variance', () => {
  const count = 200_000;
  const first = gaussianNoise(7, 0, count);
  for (const other of [gaussianNoise(8, 0, count), gaussianNoise(7, 1, count)]) {
    let mean = 0;
    let square = 0;
    let fourth = 0;
    let product = 0;
    let neighbours = 0;
    for (let i = 0; i < count; i++) {
      const value = other[i];
      mean += value / count;
      square += value ** 2 / count;
      fourth += value ** 4 / count;
      product += (value * first[i]) / count;
      neighbours += (value * other[(i + 1) % count]) / count;
    }
    // Five standard errors each.
    const error = 5 / Math.sqrt(count);
    assert.ok(Math.abs(mean) < error, `mean ${mean}`);
    assert.ok(Math.abs(square - 1) < Math.sqrt(2) * error, `variance ${square}`);
    assert.ok(Math.abs(fourth - 3) < Math.sqrt(96) * error, `fourth moment ${fourth}`);
    assert.ok(Math.abs(product) < error, `correlation of streams ${product}`);
    assert.ok(Math.abs(neighbours) < error, `correlation of neighbours ${neighbours}`);
  }
});

test('the tails are those of the normal distribution', () => {
  const values = gaussianNoise(11, 0, 200_000);
  const beyond = (limit: number) => values.filter((value) => Math.abs(value) > limit).length / values.length;
  assert.ok(Math.abs(beyond(1) - 0.3173) < 0.005);
  assert.ok(Math.abs(beyond(2) - 0.0455) < 0.0025);
  assert.ok(Math.abs(beyond(3) - 0.0027) < 0.0006);
  assert.equal(beyond(6.67), 0);
});

test('streams of items and draws are all different', () => {
  const streams = [0, 1, 2].flatMap((item) => [0, 1, 1000, 4095].map((draw) => noiseStream(item, draw)));
  assert.equal(new Set(streams).size, streams.length);
  assert.equal(noiseStream(2, 5), 8197);
});

test('arguments out of range are refused', () => {
  const refused = (call: () => unknown) => assert.throws(call, (error) => isEdgeDitError(error, 'invalid-argument'));
  for (const seed of [-1, 0.5, Number.NaN, 2 ** 53, -1n, 1n << 64n]) refused(() => gaussianNoise(seed, 0, 1));
  for (const stream of [-1, 0.5, Number.NaN, 2 ** 53]) refused(() => gaussianNoise(0, stream, 1));
  for (const length of [-1, 0.5, Number.NaN]) refused(() => gaussianNoise(0, 0, length));
  for (const [item, draw] of [
    [-1, 0],
    [0, -1],
    [0, 4096],
    [0.5, 0],
    [0, 0.5],
    [2 ** 52, 0],
  ]) {
    refused(() => noiseStream(item, draw));
  }
});
