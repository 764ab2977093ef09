/**
 * Every recipe, hastily calibrated: that what it stores of the first blocks of the emoji model runs, and runs in workerd to
 * Node's very bytes; and how many bytes ViDiT-Q's presets take of the whole model.
 */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { targets } from '@edge-dit/functions/targets/index';
import { FsStore } from '@edge-dit/runtime/stores/fs';
import { MemoryStore } from '@edge-dit/runtime/stores/memory';
import { calibrate } from '../calibrate/calibrate.ts';
import { type Checkpoint, openCheckpoint } from '../checkpoint/checkpoint.ts';
import { describeModel } from '../describe-model.ts';
import { generatePictures } from '../evaluate/generate-pictures.ts';
import { psnr } from '../evaluate/psnr.ts';
import type { BitMap } from '../mixed-precision/bit-map.ts';
import { shippedMap } from '../mixed-precision/shipped-map.ts';
import { quantize } from '../quantize/quantize.ts';
import { copyFirstBlocks } from '../testing/copy-checkpoint.ts';
import { generate } from '../testing/endpoint-client.ts';
import { recipeByName, recipes } from './index.ts';
import type { LayerPlan, Recipe } from './recipe.ts';

const BLOCKS = 2;
/** So few blocks share a shard, which has to be there whole beside the text encoder. */
const MEMORY_MB = 192;
const REQUEST = { prompt: 'red apple, fluent 3d style', seed: 1, steps: 2 };
/** Bytes of the shards by those of float16. */
const MOST: Readonly<Record<string, number>> = {
  'vidit-q-w8a8': 0.55,
  'vidit-q-w6a6': 0.44,
  'vidit-q-w4a8': 0.34,
  'vidit-q-w4a8-uniform': 0.34,
  'vidit-q-w4a8-mp': 0.42,
};
/** A float network is too large for an isolate. */
const quantized = recipes.filter(({ body }) => body);

/** What decides over values and not over bytes left out, which takes most of the time. */
function hasty({ body, modulation, exceptions, ...recipe }: Recipe): Recipe {
  const plainly = <Plan extends Partial<LayerPlan>>(plan: Plan) => ({ ...plan, rounding: undefined, range: undefined });
  return {
    ...recipe,
    body: body && plainly(body),
    modulation: modulation && plainly(modulation),
    exceptions: exceptions?.map(({ layers, plan }) => ({ layers, plan: plan === 'float' ? plan : plainly(plan) })),
  };
}

/** Of the checkpoint's own map, what is left in one of fewer blocks. */
function ofFirstBlocks({ search: _, ...map }: BitMap): BitMap {
  const left = Object.entries(map.layers).filter(([name]) => Number(name.split('.')[1]) < BLOCKS);
  return { ...map, layers: Object.fromEntries(left) };
}

describe('recipes', () => {
  let folder = '';
  let store: FsStore;
  let whole: Checkpoint;
  let checkpoint: Checkpoint;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'edge-dit-presets-'));
    store = new FsStore(join(folder, 'models'));
    whole = await openCheckpoint(fileURLToPath(new URL('../../../examples/emoji/model', import.meta.url)));
    await copyFirstBlocks(whole, join(folder, 'first-blocks'), BLOCKS);
    checkpoint = await openCheckpoint(join(folder, 'first-blocks'));
    const calibration = await calibrate({ checkpoint, conditions: ['dog, noto style'], steps: 2, moments: true });
    for (const recipe of quantized) {
      const map = await shippedMap(whole, recipe);
      const bitMap = map && ofFirstBlocks(map);
      await quantize({ checkpoint, recipe, model: recipe.name, store, calibration, bitMap });
    }
  });
  after(async () => {
    await whole.close();
    await checkpoint.close();
    await rm(folder, { recursive: true });
  });

  test('take no more bytes of the whole model than they say', async () => {
    const calibration = await calibrate({ checkpoint: whole, conditions: ['dog, noto style'], steps: 1 });
    for (const [name, most] of Object.entries(MOST)) {
      const recipe = hasty(recipeByName(name));
      const made = { checkpoint: whole, recipe, model: 'm', store: new MemoryStore(), calibration };
      const { manifest, digest } = await quantize(made);
      const { ratio } = describeModel(manifest, digest);
      assert.ok(ratio <= most, `${name}: ${ratio} of float16`);
    }
  });

  test('what ViDiT-Q costs in calibration is worth it', async () => {
    const models = ['f16', 'vidit-q-w4a8', 'w4a8-g32'];
    await quantize({ checkpoint, recipe: recipeByName('f16'), model: 'f16', store });
    const pictures: Float32Array[] = [];
    await generatePictures({
      jobs: models.map((model) => ({ place: join(folder, 'models'), model, request: { ...REQUEST, steps: 4 } })),
      onPicture: ({ values }, index) => {
        pictures[index] = values;
      },
    });
    const [float, viditQ, nearest] = pictures;
    const gained = psnr(viditQ, float) - psnr(nearest, float);
    assert.ok(gained > 1, `vidit-q-w4a8 is ${gained} dB nearer to float than rounding to nearest`);
  });

  test('may rotate and not balance: the signs of a block have their room in its place', async () => {
    const body: LayerPlan = { bits: 8, rotation: true };
    const recipe: Recipe = { name: 'rotated', summary: '', body, attention: 'float' };
    await quantize({ checkpoint, recipe, model: 'rotated', store });
    const job = { place: join(folder, 'models'), model: 'rotated', request: { ...REQUEST, steps: 1 } };
    let widths = 0;
    await generatePictures({ jobs: [job], onPicture: ({ width }) => void (widths += width) });
    assert.equal(widths, 128);
  });

  test('give the same bytes in workerd and in Node', async () => {
    const models = quantized.map(({ name }) => name);
    const pictures = new Map<string, string[]>();
    for (const target of targets) {
      for (const model of models) {
        const served = await target.serve({ store, models: [model], memoryLimitMb: MEMORY_MB });
        try {
          const { png } = await generate(served.url, { ...REQUEST, model });
          pictures.set(model, [...(pictures.get(model) ?? []), Buffer.from(png).toString('base64')]);
        } finally {
          await served.close();
        }
      }
    }
    for (const [model, all] of pictures) assert.equal(new Set(all).size, 1, `${model} differs between targets`);
    assert.equal(new Set([...pictures.values()].flat()).size, models.length);
  });
});
