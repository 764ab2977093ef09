import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { TimedResult } from '../core/parts.ts';
import { exponent, floorOf, median, outsideProducts, picturesIn, shareOf, speedup, spreadOf } from './figures.ts';

const near = (got: number | undefined, expected: number) =>
  assert.ok(got !== undefined && Math.abs(got - expected) < 1e-9, `${got}, expected ${expected}`);

const result: TimedResult = {
  cases: [
    { name: 'ceiling/relaxed_dot', repeats: 1, milliseconds: [1, 2, 1], macs: 100e6 },
    { name: 'relaxed/w4/product', repeats: 1, milliseconds: [9, 2, 2], macs: 150e6 },
    { name: 'onnxruntime/fp32', repeats: 1, milliseconds: [8, 9, 7], macs: 150e6 },
  ],
  checks: [],
};

test('medians, shares of the ceiling and ratios', () => {
  assert.equal(median([3, 1, 2]), 2);
  assert.equal(median([4, 1, 2, 3]), 2.5);
  near(shareOf(result, 'relaxed/w4/product'), 0.75);
  assert.equal(shareOf(result, 'onnxruntime/fp32'), undefined);
  assert.equal(shareOf(result, 'simd/w4/product'), undefined);
  near(speedup(result, 'relaxed/w4/product', 'onnxruntime/fp32'), 4);
  assert.equal(speedup(result, 'relaxed/w4/product', 'onnxruntime/int8'), undefined);
});

test('how far rounds lie apart says whether a machine was quiet', () => {
  const spread = (...rounds: number[][]) => {
    const cases = rounds.map((milliseconds, i) => ({ name: `${i}`, repeats: 1, milliseconds }));
    return spreadOf({ hosts: [{ gemm: [{ cases }] }] } as never);
  };
  // The longest and the shortest do not count: one stall is not a noisy machine.
  near(spread([10, 10.2, 9.9, 90, 1]), 0.03);
  near(spread([10, 10, 10, 10, 10], [10, 12, 14, 10, 10], [8, 10, 20, 30, 10]), 0.2);
  assert.equal(spread([1, 2]), undefined);
});

test('the exponent of a power law is found', () => {
  near(exponent([64, 256, 1024].map((x) => [x, 3 * x ** 2])), 2);
  near(exponent([1, 2, 4].map((x) => [x, 5 * x])), 1);
});

test('the floor of a picture, and the part of a step outside matrix products', () => {
  const profile = {
    engine: 'wasm-relaxed',
    steps: 1,
    totalMs: 10,
    untimedMs: 10,
    macs: { linear: 200e6, attention: 1, shared: 100e6 },
    kernels: [
      { class: 'linear', kernel: 'a', calls: 1, ms: 5 },
      { class: 'attention product', kernel: 'b', calls: 1, ms: 2 },
      { class: 'softmax', kernel: 'c', calls: 1, ms: 3 },
    ] as const,
  };
  near(outsideProducts(profile), 0.3);
  const host = { name: 'workerd', version: '1', variants: ['relaxed'], form: 'unsigned' };
  const report = { host, gemm: [], step: result, profile, scaling: [] };
  // 20 steps of 200 million and 100 million once, at 100 GMAC/s.
  near(floorOf(report, 20), 41);
  assert.equal(floorOf({ ...report, step: undefined }, 20), undefined);
});

test('what comes before the first step is the rest of the picture', () => {
  const sample = (totalMs: number, peakBytes: number) => ({
    state: 'warm' as const,
    totalMs,
    timings: { encode: 5, sample: 70, decode: 1, png: 2 },
    peakBytes,
    engine: 'wasm-relaxed',
  });
  const figures = picturesIn(
    { steps: 20, guidance: 3, samples: [sample(100, 7), sample(90, 9), sample(110, 8)] },
    'warm',
  )!;
  assert.deepEqual(
    [figures.count, figures.totalMs, figures.untilSamplingMs, figures.timings.sample, figures.peakBytes],
    [3, 100, 27, 70, 9],
  );
  assert.equal(picturesIn({ steps: 20, guidance: 3, samples: [] }, 'warm'), undefined);
});
