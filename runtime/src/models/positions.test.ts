import assert from 'node:assert/strict';
import { it } from 'node:test';
import { positionEmbedding, timestepEmbedding } from './embeddings.ts';
import { patchify, unpatchify } from './patches.ts';

it('patchify and unpatchify put every value where the other finds it, frames included', () => {
  const grid = { batch: 2, frames: 3, channels: 4, height: 4, width: 6, patch: 2 };
  const sample = Float32Array.from({ length: 2 * 3 * 4 * 4 * 6 }, (_, i) => i);
  const patches = patchify(sample, grid);
  // Value [b 1, c 2, f 0, y 3, x 5]: frame 3 of 6, patch row 1, column 2, then [c, py, px].
  const token = 3 * 6 + 1 * 3 + 2;
  assert.equal(patches[token * 16 + 2 * 4 + 1 * 2 + 1], (((1 * 4 + 2) * 3 + 0) * 4 + 3) * 6 + 5);
  // The last layer has channels last: reorder each patch, then the picture is back.
  const channelsLast = patches.map((_, i) => {
    const [at, value] = [Math.floor(i / 16) * 16, i % 16];
    return patches[at + (value % 4) * 4 + Math.floor(value / 4)];
  });
  assert.deepEqual(unpatchify(channelsLast, grid), sample);
});

it('positions interpolate to the trained grid', () => {
  const trained = positionEmbedding(16, { rows: 8, columns: 8, baseSize: 8, interpolationScale: 1 });
  const twice = positionEmbedding(16, { rows: 16, columns: 16, baseSize: 8, interpolationScale: 1 });
  for (let c = 0; c < 16; c++) assert.equal(twice[(4 * 16 + 6) * 16 + c], trained[(2 * 8 + 3) * 16 + c]);
});

it('timesteps start at cos 0 = 1, sin 0 = 0, and the divisor moves the last frequency', () => {
  const zero = timestepEmbedding([0], 128);
  assert.ok(zero.subarray(0, 128).every((value) => value === 1) && zero.subarray(128).every((value) => value === 0));
  const [a, b] = [timestepEmbedding([500], 128), timestepEmbedding([500], 127)];
  assert.equal(a[0], b[0]);
  assert.ok(Math.abs(b[127] - Math.cos(500 * 1e-4)) < 1e-6 && Math.abs(a[127] - b[127]) > 1e-6);
});
