import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openWasmEngine } from '@edge-dit/runtime/engines/open-wasm';
import { Meter } from '@edge-dit/runtime/meter';
import { compileKernels } from '@edge-dit/wasm-kernels/assemble';
import { randomFloats } from '../bench/core/random-values.ts';
import { BITS, TREATMENTS } from './analysis.ts';
import { layerErrors } from './layer-errors.ts';
import { incoherenceOf } from './operand-figures.ts';
import { relativeError, roundTrip } from './round-trip.ts';
import { treatedActivations, treatedWeight, treatmentsOf } from './treatment.ts';

const [ROWS, INPUTS, OUTPUTS] = [24, 48, 20];
const x = randomFloats(ROWS * INPUTS, 1);
const weight = randomFloats(OUTPUTS * INPUTS, 2);
const { engine } = await openWasmEngine(await compileKernels(), new Meter(2 ** 26));

/** x W^T by loops in float64. */
function product(inputs: Float32Array, weights: Float32Array): Float32Array {
  return Float32Array.from({ length: ROWS * OUTPUTS }, (_, at) => {
    const [row, out] = [Math.floor(at / OUTPUTS), at % OUTPUTS];
    let sum = 0;
    for (let k = 0; k < INPUTS; k++) sum += inputs[row * INPUTS + k] * weights[out * INPUTS + k];
    return sum;
  });
}

test('rounding to codes and back', () => {
  assert.deepEqual([...roundTrip(Float32Array.of(-1, 0, 0.4, 2, 5, 5, 5, 5), 4, 2)], [-1, 0, 0, 2, 5, 5, 5, 5]);
  assert.deepEqual([...roundTrip(new Float32Array(3), 3, 4)], [0, 0, 0]);
  const steps = roundTrip(x, INPUTS, 4);
  for (let row = 0; row < ROWS; row++) {
    const codes = new Set(steps.subarray(row * INPUTS, (row + 1) * INPUTS));
    assert.ok(codes.size > 8 && codes.size <= 16 && (codes.has(0) || codes.size === 16));
  }
  assert.equal(relativeError(Float32Array.of(3, 4), Float32Array.of(3, 0)), 4 / 3);
});

const near = (got: number, expected: number) => assert.ok(Math.abs(got / expected - 1) < 1e-3, `${got}, ${expected}`);

test('errors of a layer are those of plain loops', async () => {
  const mark = engine.mark();
  const errors = await layerErrors(engine, x, weight, INPUTS);
  assert.equal(engine.mark(), mark);
  const exact = product(x, weight);
  for (const bits of BITS) {
    const [inputs, weights] = [roundTrip(x, INPUTS, bits), roundTrip(weight, INPUTS, bits)];
    near(errors.output[`W${bits}`], relativeError(product(x, weights), exact));
    near(errors.output[`A${bits}`], relativeError(product(inputs, weight), exact));
    near(errors.weight[bits], relativeError(weights, weight));
    near(errors.activation[bits], relativeError(inputs, x));
  }
  near(errors.output.W4A8, relativeError(product(roundTrip(x, INPUTS, 8), roundTrip(weight, INPUTS, 4)), exact));
  assert.ok(errors.output.W8A8 < errors.output.W6A6 && errors.output.W6A6 < errors.output.W4A8);
});

test('no treatment changes the product; each makes an outlier less of one', () => {
  const outliers = x.map((value, i) => (i % INPUTS === 7 ? 40 * value : value));
  const balance = Float32Array.from({ length: INPUTS }, (_, k) => (k === 7 ? 1 / 8 : 1));
  assert.deepEqual(treatmentsOf(INPUTS), TREATMENTS);
  assert.deepEqual(treatmentsOf(INPUTS + 2), ['plain', 'balanced']);
  const exact = product(outliers, weight);
  const incoherence = TREATMENTS.map((treatment) => {
    const [inputs, weights] = [
      treatedActivations(outliers, balance, treatment),
      treatedWeight(weight, balance, treatment),
    ];
    assert.ok(relativeError(product(inputs, weights), exact) < 1e-5, treatment);
    return incoherenceOf(inputs, INPUTS);
  });
  assert.ok(
    incoherence.slice(1).every((value) => value < 0.7 * incoherence[0]),
    String(incoherence),
  );
});

test('incoherence is 1 where all channels are as large, and the root of their number where one is alone', () => {
  assert.equal(incoherenceOf(Float32Array.of(2, -2, 2, 2), 4), 1);
  assert.equal(incoherenceOf(Float32Array.of(0, 0, 3, 0, 1, 1, 1, 1), 4), 1.5);
  const alone = new Float32Array(INPUTS);
  alone[5] = 3;
  assert.ok(Math.abs(incoherenceOf(treatedActivations(alone, new Float32Array(INPUTS), 'rotated'), INPUTS) - 1) < 1e-6);
});
