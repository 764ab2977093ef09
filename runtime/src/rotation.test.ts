import assert from 'node:assert/strict';
import { test } from 'node:test';
import { gaussianNoise } from './noise.ts';
import { hadamardRotate, rotationOrder } from './rotation.ts';

const noise = (stream: number, length: number) => gaussianNoise(3, stream, length);

/** a [m, k] b^T [n, k], in float64. */
function product(a: Float32Array, b: Float32Array, k: number): Float64Array {
  const [m, n] = [a.length / k, b.length / k];
  return Float64Array.from({ length: m * n }, (_, at) => {
    let sum = 0;
    for (let c = 0; c < k; c++) sum += a[Math.floor(at / n) * k + c] * b[(at % n) * k + c];
    return sum;
  });
}

test('a rotated weight times rotated activations is the weight times the activations', () => {
  for (const k of [48, 64, 384, 1152]) {
    const [x, weight] = [noise(1, 3 * k), noise(2, 5 * k)];
    const balance = noise(3, k).map((value) => 0.25 + Math.abs(value));
    const signs = Uint8Array.from(noise(4, k), (value) => Number(value < 0));
    const expected = product(x, weight, k);
    const rotatedX = x.map((value, i) => value * balance[i % k]);
    const rotatedWeight = weight.map((value, i) => value / balance[i % k]);
    hadamardRotate(3, k, rotatedX, signs);
    hadamardRotate(5, k, rotatedWeight, signs);
    const got = product(rotatedX, rotatedWeight, k);
    got.forEach((value, i) => {
      assert.ok(Math.abs(value - expected[i]) < 1e-5 * Math.sqrt(k), `${k} inputs: ${value}, expected ${expected[i]}`);
    });
  }
});

test('a rotation spreads one outlier over all channels', () => {
  const k = 1152;
  const x = new Float32Array(k);
  x[17] = 100;
  hadamardRotate(1, k, x, new Uint8Array(k));
  const sizes = x.map(Math.abs);
  assert.equal(Math.max(...sizes), Math.min(...sizes));
  assert.ok(Math.abs(sizes[0] - 100 / Math.sqrt(k)) < 1e-5);
});

test('only the rows that were asked for are rotated', () => {
  const data = noise(5, 3 * 16);
  const before = data.slice();
  hadamardRotate(2, 16, data, new Uint8Array(16));
  assert.deepEqual(data.subarray(32), before.subarray(32));
  assert.notDeepEqual(data.subarray(16, 32), before.subarray(16, 32));
});

test('inputs without a matrix are refused by the name of the layer', () => {
  assert.equal(rotationOrder(4608, 'blocks.0.ff'), 36);
  assert.throws(() => hadamardRotate(1, 100, new Float32Array(100), new Uint8Array(100), 'blocks.0.ff'), {
    code: 'config-unsupported',
    message: /blocks\.0\.ff.*100 inputs/,
  });
});
