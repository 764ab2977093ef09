/**
 * What balance and rotation are for: W8A8 of the emoji example without both, without rotation, and with
 * both, and of a copy of it whose
 * activations have outlier channels and whose float function is the same. Writes examples/emoji/results/ablation.json
 * and .md; exit code 1 unless plain rounding breaks on the copy and vidit-q-w8a8 holds within 1 dB.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { readPrompts } from '@edge-dit/sdk/calibrate/default-conditions';
import { openCheckpoint } from '@edge-dit/sdk/checkpoint/checkpoint';
import { evaluate } from '@edge-dit/sdk/evaluate/evaluate';
import { evaluationRequests } from '@edge-dit/sdk/evaluate/evaluation-requests';
import { FLOAT_REFERENCE } from '@edge-dit/sdk/evaluate/float-reference';
import type { LayerPlan, Recipe } from '@edge-dit/sdk/recipes/recipe';
import { viditQW8A8 } from '@edge-dit/sdk/recipes/vidit-q';
import { writeOutlierCheckpoint } from '@edge-dit/sdk/testing/outlier-checkpoint';
import { quantizeRecipes } from './quantize-recipes.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));
const example = join(root, 'examples/emoji');
/** The same as of `evidence:quality`: calibrations and pictures that one made serve the other. */
const kept = join(root, '.edge-dit/quality');
const PROMPTS = 8;
/** In dB. */
const LEAST_BREAK = 6;
const MOST_LOST = 1;

const variant = (name: string, body: Partial<LayerPlan>): Recipe => {
  return { ...viditQW8A8, name, body: { bits: 8, ...body } };
};
const { balance } = viditQW8A8.body!;
const variants = [
  variant('plain', {}),
  variant('balanced', { balance }),
  variant('balanced-rotated', { balance, rotation: true }),
  viditQW8A8,
];

const folder = mkdtempSync(join(tmpdir(), 'edge-dit-ablation-'));
try {
  const original = join(example, 'model');
  const outliers = join(folder, 'outliers');
  const source = await openCheckpoint(original);
  await writeOutlierCheckpoint(source, outliers);
  await source.close();
  const rows = [];
  for (const [name, path] of [
    ['as it is', original],
    ['with outlier channels', outliers],
  ] as const) {
    rows.push({ checkpoint: name, psnr: await psnrOfVariants(path, join(kept, `store-${name.replaceAll(' ', '-')}`)) });
  }
  const [normal, scaled] = rows.map(({ psnr }) => psnr);
  const result = { command: 'npm run evidence:ablation', node: process.version, prompts: PROMPTS, steps: 20, rows };
  writeFileSync(join(example, 'results/ablation.json'), `${JSON.stringify(result, null, 2)}\n`);
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  const text = [
    '# W8A8 with and without balance and rotation',
    '',
    `Mean PSNR in dB to the float32 pictures of the same checkpoint, ${PROMPTS} prompts, 20 steps, guidance 3. The second checkpoint computes the same`,
    'function, but every 48th channel of its modulated norms is 8 to 30 times as large, and the weights make up for it.',
    '',
    line(['checkpoint', ...variants.map(({ name }) => name)]),
    line(['---', ...variants.map(() => '---:')]),
    ...rows.map(({ checkpoint, psnr }) => line([checkpoint, ...variants.map(({ name }) => psnr[name].toFixed(1))])),
    '',
    'Made by `npm run evidence:ablation`.',
  ];
  writeFileSync(join(example, 'results/ablation.md'), `${text.join('\n')}\n`);
  console.log(text.slice(5, -2).join('\n'));
  const breaks = normal.plain - scaled.plain >= LEAST_BREAK;
  const holds = normal['vidit-q-w8a8'] - scaled['vidit-q-w8a8'] <= MOST_LOST;
  process.exitCode = breaks && holds ? 0 : 1;
} finally {
  rmSync(folder, { recursive: true, force: true });
}

async function psnrOfVariants(path: string, place: string): Promise<Record<string, number>> {
  await quantizeRecipes({ path, place, recipes: variants, cache: kept });
  const conditions = readPrompts(readFileSync(join(example, 'evaluation_prompts.txt'), 'utf8')).slice(0, PROMPTS);
  const { report } = await evaluate({
    reference: { place, model: FLOAT_REFERENCE },
    models: variants.map(({ name }) => ({ place, model: name })),
    requests: evaluationRequests({ conditions, steps: 20, guidance: 3 }),
    folder: join(kept, 'pictures'),
    onPicture: (done, total) => console.error(`${done} of ${total} pictures`),
  });
  return Object.fromEntries(report.models.map(({ recipe, psnr }) => [recipe, psnr.mean]));
}
