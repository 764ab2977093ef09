/**
 * How far quantized pictures are from float32 ones: the 16 prompts of the emoji example, 20 steps, the same noise.
 * Writes examples/emoji/results/quality.json and a contact sheet, and fails below the bars.
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { encodePng, type Picture } from '@edge-dit/runtime/picture';
import { float32Tensor, serializeSafetensors } from '@edge-dit/runtime/safetensors';
import { openCheckpoint } from '@edge-dit/sdk/checkpoint/checkpoint';
import { type EvaluatedPicture, generatePictures } from '@edge-dit/sdk/evaluate/generate-pictures';
import { psnr } from '@edge-dit/sdk/evaluate/psnr';
import { quantize } from '@edge-dit/sdk/quantize/quantize';
import { recipeByName } from '@edge-dit/sdk/recipes/index';
import { openWritableStore } from '@edge-dit/sdk/stores';

const root = fileURLToPath(new URL('../../', import.meta.url));
const example = join(root, 'examples/emoji');
const RECIPES = ['f16', 'w8a8', 'w4a8'] as const;
/** Least mean PSNR against float32, in dB. */
const BARS = { f16: Number.POSITIVE_INFINITY, w8a8: 42, w4a8: 25 };

const prompts = JSON.parse(readFileSync(join(example, 'prompts.json'), 'utf8')) as string[];
const folder = mkdtempSync(join(tmpdir(), 'edge-dit-quality-'));
try {
  const checkpoint = await openCheckpoint(join(example, 'model'));
  const ratios: Record<string, number> = {};
  for (const name of RECIPES) {
    const store = openWritableStore(folder);
    const { manifest } = await quantize({ checkpoint, recipe: recipeByName(name), model: name, store });
    ratios[name] = manifest.shards.reduce((sum, { length }) => sum + length, 0) / manifest.quantization!.floatBytes16;
  }
  const jobs = RECIPES.flatMap((model) =>
    prompts.map((prompt, i) => ({ model, request: { prompt, seed: i + 1, steps: 20, guidance: 3 } })),
  );
  const pictures = await generatePictures({
    store: folder,
    jobs,
    onPicture: (done, total) => process.stderr.write(`\r${done} of ${total} pictures`),
  });
  process.stderr.write('\n');
  const of = (model: number, prompt: number) => pictures[model * prompts.length + prompt];
  const results = RECIPES.map((recipe, model) => {
    const figures = prompts.map((_, i) => psnr(of(model, i).values, of(0, i).values));
    return {
      recipe,
      shardBytesOfFp16: ratios[recipe],
      meanPsnr: figures.reduce((a, b) => a + b, 0) / figures.length,
      worstPsnr: Math.min(...figures),
      psnr: Object.fromEntries(prompts.map((prompt, i) => [prompt, figures[i]])),
    };
  });
  mkdirSync(join(example, 'results'), { recursive: true });
  writeFileSync(
    join(example, 'results/quality.json'),
    `${JSON.stringify({ command: 'npm run evidence:quality', node: process.version, steps: 20, guidance: 3, seeds: '1..16', results }, null, 2)}\n`,
  );
  writeFileSync(join(example, 'fixtures/float-pictures.safetensors'), floatPictures(prompts.map((_, i) => of(0, i))));
  writeFileSync(join(root, 'docs/images/emoji-float-w8a8-w4a8.png'), encodePng(sheet(pictures, prompts.length)));
  let failed = false;
  for (const { recipe, meanPsnr, worstPsnr, shardBytesOfFp16 } of results.slice(1)) {
    const met = meanPsnr >= BARS[recipe];
    failed ||= !met;
    console.log(
      `${recipe}: mean ${meanPsnr.toFixed(1)} dB, worst ${worstPsnr.toFixed(1)} dB, ${(100 * shardBytesOfFp16).toFixed(1)}% of the fp16 bytes${met ? '' : ` (below ${BARS[recipe]} dB)`}`,
    );
  }
  process.exitCode = failed ? 1 : 0;
} finally {
  rmSync(folder, { recursive: true, force: true });
}

/** What the test of quality compares with, and whose bits it repeats. */
function floatPictures(pictures: readonly EvaluatedPicture[]): Uint8Array {
  const tensors = pictures.map(
    ({ values, height, width }, i) => [`picture.${i}`, float32Tensor(values, [3, height, width])] as const,
  );
  return serializeSafetensors(new Map(tensors), { command: 'npm run evidence:quality' });
}

/** Pictures side by side, `columns` in a row. */
function sheet(cells: readonly Picture[], columns: number): Picture {
  const { width, height } = cells[0];
  const rows = Math.ceil(cells.length / columns);
  const rgb = new Uint8Array(3 * width * columns * height * rows).fill(255);
  cells.forEach((cell, i) => {
    for (let y = 0; y < height; y++) {
      const at = ((Math.floor(i / columns) * height + y) * columns + (i % columns)) * width;
      rgb.set(cell.rgb.subarray(3 * y * width, 3 * (y + 1) * width), 3 * at);
    }
  });
  return { width: width * columns, height: height * rows, rgb };
}
