import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { parseSafetensors, toFloat32 } from '@edge-dit/runtime/safetensors';
import { readPrompts } from './calibrate/default-conditions.ts';
import { openCheckpoint } from './checkpoint/checkpoint.ts';
import { generatePictures } from './evaluate/generate-pictures.ts';
import { psnr } from './evaluate/psnr.ts';
import { parseBars, unmetBars } from './evaluate/quality-bars.ts';
import { parseReport } from './evaluate/report.ts';
import { quantize } from './quantize/quantize.ts';
import { recipeByName } from './recipes/index.ts';
import { openWritableStore } from './stores.ts';

const example = fileURLToPath(new URL('../../examples/emoji/', import.meta.url));
const text = (name: string) => readFileSync(join(example, name), 'utf8');
const prompts = readPrompts(text('evaluation_prompts.txt'));
const bars = parseBars(text('quality-bars.json'), 'quality-bars.json');
/** What `npm run evidence:quality` measured. */
const readRecorded = () => parseReport(text('results/quality.json'), 'quality.json');

describe('quality of quantized pictures', () => {
  let folder = '';
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'edge-dit-quality-'));
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  it('no subject that recipes are judged by was calibrated on, in whatever style', () => {
    const subjects = (lines: readonly string[]) => lines.map((line) => line.slice(0, line.lastIndexOf(',')));
    const calibrated = new Set(subjects(readPrompts(text('model/calibration_prompts.txt'))));
    assert.deepEqual(
      subjects(prompts).filter((subject) => calibrated.has(subject)),
      [],
    );
    assert.equal(new Set(subjects(prompts)).size, 32);
    assert.deepEqual(prompts.slice(0, 16), JSON.parse(text('prompts.json')));
  });

  it('the recorded results are of these prompts and meet their bars', () => {
    const recorded = readRecorded();
    assert.deepEqual(
      recorded.requests,
      prompts.map((condition, i) => ({ condition, seed: i + 1 })),
    );
    assert.deepEqual([recorded.steps, recorded.guidance], [20, 3]);
    assert.ok(bars.length >= 2);
    assert.deepEqual(unmetBars(recorded, bars), []);
  });

  it('three of them repeat: bits of the float picture, and so the very PSNR of the quantized ones', async () => {
    const checkpoint = await openCheckpoint(`${example}model`);
    const store = openWritableStore(folder);
    const { tensors } = parseSafetensors(readFileSync(`${example}fixtures/float-pictures.safetensors`));
    const floatPicture = (index: number) => toFloat32(tensors.get(`picture.${index}`)!);
    const { models } = readRecorded();
    const resultOf = (name: string) => models.find(({ recipe }) => recipe === name)!;
    for (const name of ['f16', 'w8a8', 'w4a8']) {
      const { manifest } = await quantize({ checkpoint, recipe: recipeByName(name), model: name, store });
      const bytes = manifest.shards.reduce((sum, { length }) => sum + length, 0);
      if (name !== 'f16') assert.equal(bytes, resultOf(name).bytes);
    }
    await checkpoint.close();
    const cases = [
      { model: 'f16', index: 15 },
      { model: 'w8a8', index: 0 },
      { model: 'w4a8', index: 1 },
    ];
    const values: Float32Array[] = [];
    await generatePictures({
      jobs: cases.map(({ model, index }) => {
        const request = { prompt: prompts[index], seed: index + 1, steps: 20, guidance: 3 };
        return { place: folder, model, request };
      }),
      onPicture: (picture, index) => {
        values[index] = picture.values;
      },
    });
    assert.deepEqual(values[0], floatPicture(15));
    for (const [i, { model, index }] of [...cases.entries()].slice(1)) {
      const expected = resultOf(model).pictures[index].psnr;
      assert.equal(psnr(values[i], floatPicture(index)), expected, `${model}: ${prompts[index]}`);
    }
  });
});
