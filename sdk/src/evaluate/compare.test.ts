import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compareModels, comparisonMarkdown, type Order } from './compare.ts';
import { distributionOf } from './distribution.ts';
import { parseBars, unmetBars } from './quality-bars.ts';
import type { EvaluationReport } from './report.ts';

type Figures = readonly [name: string, psnr: number, bytes: number, msPerStep: number];

function report(models: readonly Figures[], other: Partial<EvaluationReport> = {}): EvaluationReport {
  return {
    format: 'edge-dit-evaluation',
    version: 1,
    date: '2026-01-01T00:00:00.000Z',
    machine: { cpu: 'a processor', cores: 2, system: 'Linux', node: 'v20' },
    threads: 2,
    steps: 20,
    guidance: 3,
    requests: [{ condition: 'red apple', seed: 1 }],
    reference: { model: 'float32', digest: 'f', engines: ['wasm-simd'], msPerStep: 9, peakBytes: 1 },
    models: models.map(([model, psnr, bytes, msPerStep]) => ({
      model,
      digest: `digest of ${model}`,
      engines: ['wasm-simd'],
      msPerStep,
      peakBytes: 1,
      bytes,
      floatBytes16: 100,
      ratio: bytes / 100,
      psnr: distributionOf([psnr], 'larger'),
      ssim: distributionOf([0.9], 'larger'),
      gmsd: distributionOf([0.1], 'smaller'),
      pictures: [{ psnr, ssim: 0.9, gmsd: 0.1 }],
    })),
    ...other,
  };
}

const MODELS: readonly Figures[] = [
  ['large', 45, 60, 10],
  ['exact', Number.POSITIVE_INFINITY, 100, 30],
  ['small', 30, 30, 12],
  ['worse', 29, 30, 8],
  ['useless', 20, 90, 40],
];

const named = (name: string, one: EvaluationReport) => ({ name, report: one });

test('the order is that of the figure, equal figures share a rank', () => {
  const order = (by: Order) => compareModels([named('a', report(MODELS))], by).map(({ model }) => model);
  assert.deepEqual(order('psnr'), ['exact', 'large', 'small', 'worse', 'useless']);
  assert.deepEqual(order('bytes'), ['small', 'worse', 'large', 'useless', 'exact']);
  assert.deepEqual(order('speed'), ['worse', 'large', 'small', 'exact', 'useless']);
  const ranks = compareModels([named('a', report(MODELS))], 'bytes').map(({ ranks }) => ranks.bytes);
  assert.deepEqual(ranks, [1, 1, 3, 4, 5]);
});

test('a model is on the front unless another is as good and cheaper, or better for as much', () => {
  const models = compareModels([named('a', report(MODELS))]);
  const onFront = (by: 'bytes' | 'speed') => models.filter((one) => one.paretoOptimal[by]).map(({ model }) => model);
  assert.deepEqual(onFront('bytes'), ['exact', 'large', 'small']);
  assert.deepEqual(onFront('speed'), ['exact', 'large', 'worse']);
  const lines = comparisonMarkdown(models);
  assert.match(lines[2], /^\| exact +\| +inf \|.*\| bytes, speed \| 1 \/ 5 \/ 4 +\|$/);
  assert.equal(new Set(lines.slice(0, 7).map(({ length }) => length)).size, 1, 'columns are aligned');
});

test('models of several reports are ranked together, a model of two as in the last', () => {
  const later = report([['small', 33, 30, 5]]);
  const models = compareModels([named('a', report(MODELS)), named('b', later)]);
  assert.equal(models.length, MODELS.length);
  assert.equal(models.find(({ model }) => model === 'small')!.meanPsnr, 33);
});

test('reports of other pictures or machines do not compare', () => {
  const first = named('a.json', report(MODELS));
  const refused = (other: Partial<EvaluationReport>, message: RegExp) =>
    assert.throws(() => compareModels([first, named('b.json', report([], other))]), message);
  refused({ steps: 10 }, /a.json and b.json are of different steps, so/);
  refused({ requests: [{ condition: 'red apple', seed: 2 }] }, /different prompts, classes or seeds/);
  refused({ guidance: 1, threads: 1 }, /different guidance and numbers of threads/);
  refused({ reference: { ...first.report.reference, digest: 'g' } }, /different float networks/);
  // The reference may have been timed again.
  compareModels([first, named('b', report([], { reference: { ...first.report.reference, msPerStep: 8 } }))]);
});

test('distributions: quantiles between neighbours, the worst by what is better', () => {
  // numpy.quantile([1, 2, 4, 8], [0.05, 0.25, 0.5, 0.75, 0.95])
  const { mean, worst, quantiles } = distributionOf([8, 1, 4, 2], 'larger');
  assert.deepEqual([mean, worst], [3.75, 1]);
  assert.deepEqual(
    Object.values(quantiles).map((value) => Number(value.toFixed(6))),
    [1.15, 1.75, 3, 5, 7.4],
  );
  assert.equal(distributionOf([8, 1, 4, 2], 'smaller').worst, 8);
  const infinite = distributionOf([Number.POSITIVE_INFINITY, 1, Number.POSITIVE_INFINITY], 'larger');
  assert.deepEqual([infinite.worst, infinite.quantiles.p75], [1, Number.POSITIVE_INFINITY]);
  assert.deepEqual(Object.values(distributionOf([5], 'larger').quantiles), [5, 5, 5, 5, 5]);
});

test('bars: each that is not met is named', () => {
  const one = report([
    ['a', 40, 50, 1],
    ['plain', 38, 50, 1],
    ['larger', 41, 60, 1],
  ]);
  const evaluated = { ...one, models: one.models.map((model) => ({ ...model, recipe: model.model })) };
  const met = { recipe: 'a', leastMeanPsnr: 40, mostOfFloat16: 0.5, beats: 'plain' };
  assert.deepEqual(unmetBars(evaluated, [met]), []);
  assert.deepEqual(
    unmetBars(evaluated, [
      { ...met, leastMeanPsnr: 40.5, mostOfFloat16: 0.49 },
      { recipe: 'plain', leastMeanPsnr: 1, mostOfFloat16: 1, beats: 'a' },
      { recipe: 'larger', leastMeanPsnr: 1, mostOfFloat16: 1, beats: 'plain' },
      { ...met, beats: 'b' },
      { ...met, recipe: 'c' },
    ]),
    [
      'a: mean 40.0 dB, below 40.5',
      'a: 50.0% of float16, above 49.0%',
      'plain: mean 38.0 dB, a has 40.0',
      'plain: worst 38.0 dB, a has 40.0',
      'larger: 60 bytes, plain has 50',
      'a: b, which it must beat, was not evaluated',
      'c: was not evaluated',
    ],
  );
  assert.throws(() => parseBars('[{"recipe":"a"}]', 'bars.json'), /bars.json: \[0\]\.leastMeanPsnr: /);
});
