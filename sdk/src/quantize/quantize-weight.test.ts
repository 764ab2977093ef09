/** Weights rounded in every size of groups, by what a layer's outputs lose. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { expandCodes } from '@edge-dit/runtime/format/code-groups';
import { gaussianNoise } from '@edge-dit/runtime/noise';
import type { LayerPlan } from '../recipes/recipe.ts';
import { errorFeedback } from './gptq.ts';
import { quantizeWeight } from './quantize-weight.ts';

const [OUT, IN, ROWS] = [24, 256, 512];
/** Inputs that go together in pairs, some of them large. */
const inputs = gaussianNoise(1, 0, ROWS * IN).map(
  (value, i, all) => (value + 0.9 * all[i - (i % 2)]) * (i % 37 === 0 ? 8 : 1),
);
/** Outputs whose weights reach further towards the end, so that one step does not suit all of an output. */
const weight = gaussianNoise(2, 0, OUT * IN).map((value, i) => value * 0.02 * (1 + 4 * ((i % IN) / IN)));

const product = (w: ArrayLike<number>) =>
  Float64Array.from({ length: ROWS * OUT }, (_, i) => {
    const [row, n] = [Math.floor(i / OUT), i % OUT];
    let sum = 0;
    for (let k = 0; k < IN; k++) sum += inputs[row * IN + k] * w[n * IN + k];
    return sum;
  });
const wanted = product(weight);

const moments = new Float32Array(IN * IN);
for (let row = 0; row < ROWS; row++) {
  for (let a = 0; a < IN; a++) {
    for (let b = 0; b < IN; b++) moments[a * IN + b] += inputs[row * IN + a] * inputs[row * IN + b];
  }
}
const importance = Float32Array.from({ length: IN }, (_, k) => moments[k * IN + k] / ROWS);
const feedback = errorFeedback(moments, IN);

/** Mean squared error of the outputs. */
function lost(plan: LayerPlan): number {
  const quantized = quantizeWeight({
    weight,
    outFeatures: OUT,
    inFeatures: IN,
    plan,
    moments: { importance, feedback },
  });
  assert.equal(quantized.groups?.size, plan.group);
  const codes = quantized.groups ? expandCodes(quantized.codes, IN, quantized.groups) : quantized.codes;
  const rounded = Float64Array.from(codes, (code, i) => {
    const n = Math.floor(i / IN);
    return quantized.scale[n] * (code - quantized.zero[n]);
  });
  return product(rounded).reduce((sum, value, i) => sum + (value - wanted[i]) ** 2, 0) / wanted.length;
}

test('GPTQ, the range by least squares and groups of 128, 64 and 32 inputs each lose less, by themselves and together', () => {
  for (const bits of [4, 6] as const) {
    const groups = [undefined, 128, 64, 32];
    const plain = groups.map((group) => lost({ bits, group }));
    for (const [i, group] of groups.entries()) {
      const gptq = lost({ bits, group, rounding: 'gptq' });
      assert.ok(gptq < 0.85 * plain[i], `${bits} bits, groups of ${group}: ${gptq} by GPTQ, ${plain[i]} without`);
      const both = lost({ bits, group, rounding: 'gptq', range: 'least-squares' });
      assert.ok(both < 0.9 * plain[i], `${bits} bits, groups of ${group}: ${both} with the range searched too`);
      if (i > 0) assert.ok(plain[i] < plain[i - 1], `${bits} bits: groups of ${group} lose ${plain[i]}`);
    }
  }
});
