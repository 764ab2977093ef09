/** Real searches on a tiny network: the budget is kept to the byte, and nothing depends on threads, stops or caches. */
import assert from 'node:assert/strict';
import { appendFile, mkdir, mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { isEdgeDitError } from '@edge-dit/runtime/errors';
import { MemoryStore } from '@edge-dit/runtime/stores/memory';
import { calibrate } from '../calibrate/calibrate.ts';
import { canonicalCheckpoint } from '../checkpoint/canonical.ts';
import { openCheckpoint } from '../checkpoint/checkpoint.ts';
import { makeTinyPipeline } from '../cli/testing/tiny-pipeline.ts';
import { describeModel } from '../describe-model.ts';
import { type QuantizeOptions, quantize } from '../quantize/quantize.ts';
import { recipeByName } from '../recipes/index.ts';
import type { Recipe } from '../recipes/recipe.ts';
import { type BitMap, serializeBitMap } from './bit-map.ts';
import { measureLayers } from './measure-layers.ts';
import { MeasurementFile } from './measurement-file.ts';
import { type SearchBitsOptions, searchBits } from './search-bits.ts';

const root = await mkdtemp(join(tmpdir(), 'edge-dit-search-'));
const checkpoint = await openCheckpoint(await makeTinyPipeline(root, 'dit'));
after(async () => {
  await checkpoint.close();
  await rm(root, { recursive: true });
});
const canonical = canonicalCheckpoint(checkpoint);
const cache = join(root, 'cache');
const recipe: Recipe = { ...recipeByName('w4a8'), body: { bits: 4, group: 32 }, modulation: { bits: 8 } };
const sample = { conditions: [1, 6], steps: 2 };
const options: SearchBitsOptions = { checkpoint, recipe, budget: 0.56, sample, cache };
const search = (changes: Partial<SearchBitsOptions> = {}) => searchBits({ ...options, ...changes });
const whole = await search();

async function published(of: Recipe, options: Partial<QuantizeOptions> = {}) {
  const store = new MemoryStore();
  const { manifest, digest } = await quantize({ checkpoint, recipe: of, model: 'm', store, ...options });
  const { ratio, shards } = describeModel(manifest, digest);
  return { manifest, ratio, bytes: shards.bytes };
}

/** Only headers of shards, of which there are fewer than there could be. */
function assertBytes(said: number, bytes: number): void {
  assert.ok(said >= bytes && said < bytes + 4 * 64, `${said} were said, ${bytes} are there`);
}

test('what is published keeps the budget, and has the bytes that were said', async () => {
  for (const budget of [0.54, 0.56, 0.58]) {
    const map = await search({ budget });
    const { bytes, ratio, manifest } = await published(recipe, { bitMap: map });
    assert.ok(ratio <= budget, `${ratio} of ${budget}`);
    assertBytes(map.search!.bytes, bytes);
    assert.ok(ratio > budget - 0.01, `${ratio} of ${budget} is little`);
    const widths = Object.fromEntries(manifest.quantization!.layers.map(({ name, weightBits }) => [name, weightBits]));
    for (const [name, bits] of Object.entries(map.layers)) assert.equal(widths[name], bits);
    assert.deepEqual(manifest.quantization!.mixedPrecision, map.search);
  }
});

test('more bytes never do worse, and each search gives its layers a choice', async () => {
  let before = Number.POSITIVE_INFINITY;
  for (const budget of [0.53, 0.54, 0.56, 0.58, 0.6]) {
    const { search: found, layers } = await search({ budget });
    assert.ok(found!.estimated.picture <= before, `${budget}`);
    before = found!.estimated.picture;
    assert.equal(Object.keys(layers).length, 12);
  }
  const { layers } = await search({ budget: 0.9 });
  assert.deepEqual(new Set(Object.values(layers)), new Set([8]));
});

test('a recipe that asks for it is searched inside quantize', async () => {
  const { manifest, ratio } = await published({ ...recipe, mixed: { budget: 0.57, bits: [4, 8] } });
  assert.ok(ratio <= 0.57);
  const { candidates, budget } = manifest.quantization!.mixedPrecision as NonNullable<BitMap['search']>;
  assert.deepEqual([candidates, budget], [[4, 8], 0.57]);
});

test('a budget that cannot be kept is refused before anything is measured, with the least that can', async () => {
  const onMeasure = () => assert.fail('it measures');
  let least = '';
  await assert.rejects(search({ budget: 0.3, onMeasure, cache: undefined }), (error) => {
    assert.ok(isEdgeDitError(error, 'invalid-argument'));
    assert.match(error.message, /a budget of 0\.3 .* with 4 bits everywhere w4a8 takes \d+\. Give at least 0\.\d+/);
    least = /at least ([\d.]+\d)/.exec(error.message)![1];
    return true;
  });
  const { layers } = await search({ budget: Number(least) });
  assert.ok(Object.values(layers).every((bits) => bits === 4 || bits === 5));
  await assert.rejects(search({ bits: [4] }), /among 1 widths/);
  await assert.rejects(search({ recipe: recipeByName('f16') }), /f16 quantizes no layer/);
});

test('one thread and two measure the same', async () => {
  for (const threads of [1, 2]) assert.deepEqual(await search({ threads, cache: undefined }), whole);
});

test('what was stopped goes on, to the same map; half a line and damage are measured again', async () => {
  const folder = join(root, 'stopped');
  const stop = new AbortController();
  const onMeasure = (done: number) => {
    if (done === 7) stop.abort();
  };
  const stopped = search({ cache: folder, threads: 1, signal: stop.signal, onMeasure });
  await assert.rejects(stopped, (error) => isEdgeDitError(error, 'aborted'));
  const resumedFrom = async (found: number) => {
    const seen: number[] = [];
    assert.deepEqual(await search({ cache: folder, onMeasure: (...[, , from]) => seen.push(from) }), whole);
    if (found === 36) assert.deepEqual(seen, []);
    else assert.deepEqual(new Set(seen), new Set([found]));
  };
  await resumedFrom(7);
  await resumedFrom(36);
  const [name] = await readdir(join(folder, 'sensitivity'));
  const file = join(folder, 'sensitivity', name);
  const text = await readFile(file, 'utf8');
  assert.equal(text.split('\n').length, 1 + 36 + 1);
  await truncate(file, text.length - 5);
  await resumedFrom(35);
  await appendFile(file, '{"layer":');
  await resumedFrom(36);
  const lines = text.split('\n');
  await writeFile(file, [...lines.slice(0, 10), '{}', ...lines.slice(10)].join('\n'));
  await resumedFrom(9);
  await writeFile(file, lines[0].slice(0, 20));
  await resumedFrom(0);
});

test('another sample, recipe or calibration is measured by itself', async () => {
  const measured = async (changes: Partial<SearchBitsOptions>) => {
    let from = -1;
    const map = await search({ ...changes, onMeasure: (...[, , found]) => (from = found) });
    return { from, digest: map.search!.measurements };
  };
  assert.equal((await measured({ budget: 0.55 })).from, -1);
  const seed = await measured({ sample: { ...sample, seed: 1 } });
  const plain = await measured({ recipe: { ...recipe, body: { bits: 4 } } });
  assert.deepEqual([seed.from, plain.from], [0, 0]);
  assert.equal(new Set([seed.digest, plain.digest, whole.search!.measurements]).size, 3);
});

test('rotated and balanced weights are measured as what they stand for', async () => {
  const calibration = await calibrate({ checkpoint, conditions: [1, 6], steps: 2, moments: true });
  const treated: Recipe = {
    ...recipe,
    body: { bits: 4, group: 32, rotation: true, balance: { alpha: 0.5 }, rounding: 'gptq', range: 'least-squares' },
  };
  const layers = canonical.architecture.linears.filter(({ role }) => role === 'body');
  const measure = (of: Recipe) =>
    measureLayers({
      checkpoint,
      canonical,
      recipe: of,
      calibration,
      layers,
      widths: [4, 8],
      sample: { guidance: 3, seed: 0, ...sample },
      file: new MeasurementFile(undefined, {}),
    });
  const [plain, rotated] = [await measure(recipe), await measure(treated)];
  const mean = (of: typeof plain, bits: number) => {
    const some = of.filter((measurement) => measurement.bits === bits).map(({ picture }) => picture);
    return some.reduce((a, b) => a + b, 0) / some.length;
  };
  // Were a rotation not undone, the weight would be another one at any width.
  assert.ok(mean(rotated, 4) < 2 * mean(plain, 4), `${mean(rotated, 4)}, ${mean(plain, 4)}`);
  assert.ok(mean(rotated, 8) < 0.05 * mean(rotated, 4), `${mean(rotated, 8)}, ${mean(rotated, 4)}`);
  const map = await searchBits({ ...options, recipe: treated, calibration, budget: 0.56, cache: undefined });
  const { bytes, ratio } = await published(treated, { bitMap: map, calibration });
  assertBytes(map.search!.bytes, bytes);
  assert.ok(ratio <= 0.56);
});

test("a checkpoint's own map is taken, unless it is for another budget, and refused for other weights", async () => {
  const own = await mkdtemp(join(tmpdir(), 'edge-dit-shipped-'));
  const path = await makeTinyPipeline(own, 'dit');
  const shipping = await openCheckpoint(path);
  try {
    const mixed: Recipe = { ...recipe, mixed: { budget: 0.56 } };
    const file = join(path, 'bit_maps', `${recipe.name}.json`);
    await mkdir(join(path, 'bit_maps'));
    await writeFile(file, serializeBitMap(whole));
    let measured = 0;
    const found = { checkpoint: shipping, search: { sample, onMeasure: () => void measured++ } };
    const { manifest } = await published(mixed, found);
    assert.deepEqual(manifest.quantization!.mixedPrecision, whole.search);
    assert.equal(measured, 0);
    const other = await published({ ...mixed, mixed: { budget: 0.58 } }, found);
    assert.equal((other.manifest.quantization!.mixedPrecision as BitMap['search'])!.budget, 0.58);
    assert.ok(measured > 0);
    await writeFile(file, serializeBitMap({ ...whole, search: { ...whole.search!, checkpoint: '0'.repeat(64) } }));
    await assert.rejects(published(mixed, found), (error) => {
      assert.ok(isEdgeDitError(error, 'checkpoint-mismatch'), String(error));
      assert.match(error.message, /bit_maps.*was not searched for these weights/);
      return true;
    });
  } finally {
    await shipping.close();
    await rm(own, { recursive: true });
  }
});
