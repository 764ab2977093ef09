/**
 * PSNR against bytes: mixed precision of the emoji example under several budgets, beside the recipes of the last
 * `evidence:quality`. Measurements of the search are made once and kept. Writes examples/emoji/results/curve.json and .md.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { readPrompts } from '@edge-dit/sdk/calibrate/default-conditions';
import { evaluate } from '@edge-dit/sdk/evaluate/evaluate';
import { evaluationRequests } from '@edge-dit/sdk/evaluate/evaluation-requests';
import { FLOAT_REFERENCE } from '@edge-dit/sdk/evaluate/float-reference';
import { parseReport } from '@edge-dit/sdk/evaluate/report';
import type { Recipe } from '@edge-dit/sdk/recipes/recipe';
import { viditQW4A8 } from '@edge-dit/sdk/recipes/vidit-q';
import { quantizeRecipes } from './quantize-recipes.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));
const example = join(root, 'examples/emoji');
/** The same as of `evidence:quality`: pictures and measurements that one made serve the other. */
const kept = join(root, '.edge-dit/quality');
/** Beside those of the presets. */
const BUDGETS = [0.32, 0.36, 0.39, 0.46];

const mixed = BUDGETS.map((budget): Recipe => {
  return { ...viditQW4A8, name: `mixed-${budget}`, mixed: { ...viditQW4A8.mixed!, budget } };
});

const place = join(kept, 'store');
await quantizeRecipes({ path: join(example, 'model'), place, recipes: mixed, cache: kept });
const conditions = readPrompts(readFileSync(join(example, 'evaluation_prompts.txt'), 'utf8'));
const { report } = await evaluate({
  reference: { place, model: FLOAT_REFERENCE },
  models: mixed.map(({ name }) => ({ place, model: name })),
  requests: evaluationRequests({ conditions, steps: 20, guidance: 3 }),
  folder: join(kept, 'pictures'),
  onPicture: (done, total) => console.error(`${done} of ${total} pictures`),
});
const recorded = parseReport(readFileSync(join(example, 'results/quality.json'), 'utf8'), 'quality.json');
const rows = [...recorded.models, ...report.models]
  .map(({ recipe, ratio, psnr }) => ({ recipe, ofFloat16: ratio, meanPsnr: psnr.mean, worstPsnr: psnr.worst }))
  .sort((a, b) => a.ofFloat16 - b.ofFloat16);
const result = { command: 'npm run evidence:curve', node: process.version, prompts: conditions.length, rows };
writeFileSync(join(example, 'results/curve.json'), `${JSON.stringify(result, null, 2)}\n`);
const text = [
  '# PSNR against bytes',
  '',
  `${conditions.length} prompts, 20 steps, guidance 3, against the float32 pictures of the same noise. \`mixed-b\`: as \`vidit-q-w4a8\`, its widths searched for`,
  'under b of the float16 bytes.',
  '',
  '| recipe | of float16 | mean PSNR, dB | worst |',
  '| --- | ---: | ---: | ---: |',
  ...rows.map(
    (row) =>
      `| ${row.recipe} | ${row.ofFloat16.toFixed(3)} | ${row.meanPsnr.toFixed(1)} | ${row.worstPsnr.toFixed(1)} |`,
  ),
  '',
  'Made by `npm run evidence:curve`.',
];
writeFileSync(join(example, 'results/curve.md'), `${text.join('\n')}\n`);
console.log(text.slice(5, -2).join('\n'));
