import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { parseSafetensors, toFloat32 } from '@edge-dit/runtime/safetensors';
import { openCheckpoint } from './checkpoint/checkpoint.ts';
import { generatePictures } from './evaluate/generate-pictures.ts';
import { psnr } from './evaluate/psnr.ts';
import { quantize } from './quantize/quantize.ts';
import { recipeByName } from './recipes/index.ts';
import { openWritableStore } from './stores.ts';

const example = fileURLToPath(new URL('../../examples/emoji/', import.meta.url));
const prompts = JSON.parse(readFileSync(`${example}prompts.json`, 'utf8')) as string[];
const recorded = JSON.parse(readFileSync(`${example}results/quality.json`, 'utf8')).results as {
  recipe: string;
  shardBytesOfFp16: number;
  meanPsnr: number;
  psnr: Record<string, number>;
}[];
const { tensors } = parseSafetensors(readFileSync(`${example}fixtures/float-pictures.safetensors`));
const floatPicture = (index: number) => toFloat32(tensors.get(`picture.${index}`)!);

/** What `npm run evidence:quality` must have measured over all 16 prompts. */
const BARS = { w8a8: { psnr: 42, bytes: 0.55 }, w4a8: { psnr: 25, bytes: 0.33 } } as const;

describe('quality of quantized pictures', () => {
  let folder = '';
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'edge-dit-quality-'));
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  it('the recorded results meet their bars', () => {
    for (const [recipe, bar] of Object.entries(BARS)) {
      const { meanPsnr, shardBytesOfFp16 } = recorded.find((result) => result.recipe === recipe)!;
      assert.ok(meanPsnr >= bar.psnr, `${recipe}: ${meanPsnr} dB`);
      assert.ok(shardBytesOfFp16 <= bar.bytes, `${recipe}: ${shardBytesOfFp16} of the fp16 bytes`);
    }
  });

  it('three of them repeat: bits of the float picture, and so the very PSNR of the quantized ones', async () => {
    const checkpoint = await openCheckpoint(`${example}model`);
    const store = openWritableStore(folder);
    for (const name of ['f16', 'w8a8', 'w4a8']) {
      const { manifest } = await quantize({ checkpoint, recipe: recipeByName(name), model: name, store });
      const bytes = manifest.shards.reduce((sum, { length }) => sum + length, 0);
      const { shardBytesOfFp16 } = recorded.find((result) => result.recipe === name)!;
      assert.equal(bytes / manifest.quantization!.floatBytes16, shardBytesOfFp16);
    }
    await checkpoint.close();
    const cases = [
      { model: 'f16', index: 15 },
      { model: 'w8a8', index: 0 },
      { model: 'w4a8', index: 1 },
    ];
    const pictures = await generatePictures({
      store: folder,
      jobs: cases.map(({ model, index }) => {
        return { model, request: { prompt: prompts[index], seed: index + 1, steps: 20, guidance: 3 } };
      }),
    });
    assert.deepEqual(pictures[0].values, floatPicture(15));
    for (const [i, { model, index }] of cases.entries()) {
      if (i === 0) continue;
      const expected = recorded.find((result) => result.recipe === model)!.psnr[prompts[index]];
      assert.equal(psnr(pictures[i].values, floatPicture(index)), expected, `${model}: ${prompts[index]}`);
    }
  });
});
