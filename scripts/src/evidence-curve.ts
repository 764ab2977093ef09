/**
 * PSNR against bytes: mixed precision of the emoji example under several budgets, and uniform widths beside it. Measurements of
 * the search are made once and kept. Writes examples/emoji/results/curve.json and .md.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { readPrompts } from '@edge-dit/sdk/calibrate/default-conditions';
import { openCheckpoint } from '@edge-dit/sdk/checkpoint/checkpoint';
import { evaluate } from '@edge-dit/sdk/evaluate/evaluate';
import { evaluationRequests } from '@edge-dit/sdk/evaluate/evaluation-requests';
import { FLOAT_REFERENCE, publishFloatReference } from '@edge-dit/sdk/evaluate/float-reference';
import { quantize } from '@edge-dit/sdk/quantize/quantize';
import type { Recipe } from '@edge-dit/sdk/recipes/recipe';
import { viditQ, viditQW4A8MP } from '@edge-dit/sdk/recipes/vidit-q';
import { openWritableStore } from '@edge-dit/sdk/stores';

const root = fileURLToPath(new URL('../../', import.meta.url));
const example = join(root, 'examples/emoji');
/** The same as of `evidence:quality`: pictures and measurements that one made serve the other. */
const kept = join(root, '.edge-dit/quality');
const BUDGETS = [0.31, 0.34, 0.38, 0.42, 0.46];

const mixed = BUDGETS.map((budget): Recipe => {
  return { ...viditQW4A8MP, name: `mixed-${budget}`, mixed: { ...viditQW4A8MP.mixed!, budget } };
});
const variants = [...viditQ.filter((recipe) => !recipe.mixed), ...mixed];

const checkpoint = await openCheckpoint(join(example, 'model'));
const place = join(kept, 'store');
const store = openWritableStore(place);
await publishFloatReference(checkpoint, store);
for (const recipe of variants) {
  console.error(`quantizing: ${recipe.name}`);
  await quantize({ checkpoint, recipe, model: recipe.name, store, cache: kept });
}
await checkpoint.close();
const conditions = readPrompts(readFileSync(join(example, 'evaluation_prompts.txt'), 'utf8'));
const { report } = await evaluate({
  reference: { place, model: FLOAT_REFERENCE },
  models: variants.map(({ name }) => ({ place, model: name })),
  requests: evaluationRequests({ conditions, steps: 20, guidance: 3 }),
  folder: join(kept, 'pictures'),
  onPicture: (done, total) => console.error(`${done} of ${total} pictures`),
});
const rows = report.models
  .map(({ recipe, ratio, psnr }) => ({ recipe, ofFloat16: ratio, meanPsnr: psnr.mean, worstPsnr: psnr.worst }))
  .sort((a, b) => a.ofFloat16 - b.ofFloat16);
const result = { command: 'npm run evidence:curve', node: process.version, prompts: conditions.length, rows };
writeFileSync(join(example, 'results/curve.json'), `${JSON.stringify(result, null, 2)}\n`);
const text = [
  '# PSNR against bytes',
  '',
  `${conditions.length} prompts, 20 steps, guidance 3, against the float32 pictures of the same noise. \`mixed-b\`: widths of 4, 5, 6 and 8 bits, searched for`,
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
