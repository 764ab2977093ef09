import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openWasmEngine } from '@edge-dit/runtime/engines/open-wasm';
import { Meter } from '@edge-dit/runtime/meter';
import { compileKernels } from '@edge-dit/wasm-kernels/assemble';
import { randomFloats } from '../bench/core/random-values.ts';
import { SecondMoment, squareOf } from './second-moment.ts';

const { engine } = await openWasmEngine(await compileKernels(), new Meter(2 ** 28));

for (const [channels, rows, most] of [
  [3, 5, 5],
  [192, 70, 32],
  [260, 1100, 1100],
]) {
  test(`${rows} rows of ${channels} channels, at most ${Math.min(most, 1024)} at once: the sum of x x^T`, async () => {
    const values = randomFloats(rows * channels, 5);
    const moment = new SecondMoment(channels, most);
    const mark = engine.mark();
    for (let row = 0; row < rows; row++)
      await moment.add(values.subarray(row * channels, (row + 1) * channels), engine);
    await moment.flush(engine);
    assert.equal(engine.mark(), mark);
    assert.equal(moment.rows, rows);
    const matrix = squareOf(moment.triangle, channels);
    for (let a = 0; a < channels; a++) {
      for (let b = 0; b < channels; b++) {
        let sum = 0;
        for (let row = 0; row < rows; row++) sum += values[row * channels + a] * values[row * channels + b];
        assert.ok(
          Math.abs(matrix[a * channels + b] - sum) <= 1e-5 * rows,
          `${a}, ${b}: ${matrix[a * channels + b]}, ${sum}`,
        );
      }
    }
  });
}
