import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isEdgeDitError } from '@edge-dit/runtime/errors';
import { randomBits } from '../testing/random-bits.ts';
import { type Choice, chooseBits } from './choose-bits.ts';

const SEED = 17;
const random = randomBits(SEED);
const uniform = () => random() / 2 ** 32;

/** Layers as they are: more bits, more bytes, and errors that fall by about four with each. */
const layersOf = (count: number): Choice[][] =>
  Array.from({ length: count }, () => {
    const size = 64 * (1 + Math.floor(40 * uniform()));
    const error = 10 ** (-6 * uniform());
    return [4, 5, 6, 8].map((bits) => ({ bytes: size * bits, cost: error * 4 ** (4 - bits) * (0.5 + uniform()) }));
  });

const total = (layers: Choice[][], chosen: readonly number[], of: 'bytes' | 'cost') =>
  layers.reduce((sum, choices, i) => sum + choices[chosen[i]][of], 0);

function leastByTrying(layers: Choice[][], limit: number): number {
  let least = Number.POSITIVE_INFINITY;
  for (let code = 0; code < 4 ** layers.length; code++) {
    const chosen = layers.map((_, i) => (code >> (2 * i)) & 3);
    if (total(layers, chosen, 'bytes') <= limit) least = Math.min(least, total(layers, chosen, 'cost'));
  }
  return least;
}

test('the integer program finds what trying all finds, and more bytes never cost more', async () => {
  for (let round = 0; round < 8; round++) {
    const layers = layersOf(6);
    const smallest = total(layers, [0, 0, 0, 0, 0, 0], 'bytes');
    const largest = total(layers, [3, 3, 3, 3, 3, 3], 'bytes');
    let before = Number.POSITIVE_INFINITY;
    for (const share of [0, 0.1, 0.3, 0.5, 0.8, 1]) {
      const limit = Math.round(smallest + share * (largest - smallest));
      const chosen = await chooseBits(layers, limit);
      const cost = total(layers, chosen, 'cost');
      assert.ok(total(layers, chosen, 'bytes') <= limit);
      assert.ok(Math.abs(cost / leastByTrying(layers, limit) - 1) < 1e-9, `seed ${SEED}, round ${round}, ${share}`);
      assert.ok(cost <= before);
      before = cost;
    }
  }
});

test('three hundred layers take a moment; none take none', async () => {
  const layers = layersOf(300);
  const smallest = layers.reduce((sum, [first]) => sum + first.bytes, 0);
  const started = performance.now();
  const chosen = await chooseBits(layers, 1.4 * smallest);
  assert.ok(total(layers, chosen, 'bytes') <= 1.4 * smallest);
  assert.ok(performance.now() - started < 20_000);
  assert.deepEqual(await chooseBits([], 0), []);
});

test('equal costs and costs of 0 are no trouble; what cannot be is not hidden', async () => {
  const flat = [64, 128].map((bytes) => ({ bytes, cost: 0 }));
  assert.deepEqual(await chooseBits([flat, flat], 128), [0, 0]);
  await assert.rejects(chooseBits([flat, flat], 127), (error) => isEdgeDitError(error, 'internal'));
});
