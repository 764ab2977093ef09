/**
 * How far the pictures of every recipe are from float32 ones: the 32 evaluation prompts of the emoji example, 20 steps, the
 * same noise. Writes examples/emoji/results/ and what the test of quality compares with; exit code 1 below a bar of
 * examples/emoji/quality-bars.json. Broken off, it goes on where it was; a model whose digest is in the last report is not
 * evaluated again, but with --anew. With names of recipes it evaluates these and writes nothing.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { loadManifest } from '@edge-dit/runtime/load-manifest';
import { float32Tensor, serializeSafetensors } from '@edge-dit/runtime/safetensors';
import { readPrompts } from '@edge-dit/sdk/calibrate/default-conditions';
import { openCheckpoint } from '@edge-dit/sdk/checkpoint/checkpoint';
import { compareModels, comparisonMarkdown } from '@edge-dit/sdk/evaluate/compare';
import { contactSheetHtml, contactSheetPng } from '@edge-dit/sdk/evaluate/contact-sheet';
import { type Evaluation, evaluate } from '@edge-dit/sdk/evaluate/evaluate';
import { evaluationRequests } from '@edge-dit/sdk/evaluate/evaluation-requests';
import { FLOAT_REFERENCE } from '@edge-dit/sdk/evaluate/float-reference';
import { judgeTexts } from '@edge-dit/sdk/evaluate/judge-texts';
import { parseBars, unmetBars } from '@edge-dit/sdk/evaluate/quality-bars';
import { type EvaluationReport, serializeReport } from '@edge-dit/sdk/evaluate/report';
import { reportMarkdown } from '@edge-dit/sdk/evaluate/report-markdown';
import { recipeByName, recipes } from '@edge-dit/sdk/recipes/index';
import { viditQ } from '@edge-dit/sdk/recipes/vidit-q';
import { openWritableStore } from '@edge-dit/sdk/stores';
import { LastReport } from './last-report.ts';
import { quantizeRecipes } from './quantize-recipes.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));
const example = join(root, 'examples/emoji');
const results = join(example, 'results');
/** Of this run and the next. */
const kept = join(root, '.edge-dit/quality');
const SHOWN_IN_README = ['vidit-q-w8a8', 'vidit-q-w4a8'];
/** Whose pictures are shown. */
const PRESETS = viditQ.map(({ name }) => name);
/** Their pictures are judged by their prompts too, which takes longest. */
const JUDGED = ['w4a8', ...PRESETS];
/** Prompts in the PNG and, since its bytes are committed, in the page. */
const SHOWN_PROMPTS = { png: 16, page: 8 };
/** Those of prompts.json. */
const FIXTURE_PICTURES = 16;

const { values: flags, positionals } = parseArgs({
  options: { anew: { type: 'boolean', default: false } },
  allowPositionals: true,
});
const named = positionals.map(recipeByName);
/** Float16 weights give the pictures of the reference: the checkpoint has no others. */
const evaluated = named.length > 0 ? named : recipes.filter(({ body }) => body);
const bars = parseBars(readFileSync(join(example, 'quality-bars.json'), 'utf8'), 'quality-bars.json');

const requests = evaluationRequests({
  conditions: readPrompts(readFileSync(join(example, 'evaluation_prompts.txt'), 'utf8')),
  steps: 20,
  guidance: 3,
});
const last = flags.anew ? undefined : new LastReport(join(results, 'quality.json'), requests);
const place = join(kept, 'store');

await quantizeRecipes({ path: join(example, 'model'), place, recipes: evaluated, cache: kept });
const reference = await digestOf(FLOAT_REFERENCE);
const evaluation = await evaluateRecipes();
const report = named.length > 0 ? evaluation.report : await judgeAndSave(evaluation);
console.log(comparisonMarkdown(compareModels([{ name: 'quality', report }])).join('\n'));
const unmet = unmetBars(
  report,
  bars.filter(({ recipe }) => evaluated.some(({ name }) => name === recipe)),
);
for (const line of unmet) console.error(`below its bar: ${line}`);
process.exitCode = unmet.length > 0 ? 1 : 0;

async function digestOf(model: string): Promise<string> {
  return (await loadManifest(openWritableStore(place), model)).digest;
}

/** All of them; but of those that are not shown, none that the last report knows. */
async function evaluateRecipes(): Promise<Evaluation> {
  const models: { readonly place: string; readonly model: string }[] = [];
  for (const { name: model } of evaluated) {
    const known = named.length === 0 && !PRESETS.includes(model) && last?.row(await digestOf(model), reference);
    if (!known) models.push({ place, model });
  }
  return evaluate({
    reference: { place, model: FLOAT_REFERENCE },
    models,
    requests,
    folder: join(kept, 'pictures'),
    onPicture: (done, total) => console.error(`${done} of ${total} pictures`),
  });
}

async function judgeAndSave(evaluation: Evaluation): Promise<EvaluationReport> {
  await last?.teach(evaluation);
  const checkpoint = await openCheckpoint(join(example, 'model'));
  const onPicture = (done: number, total: number) => console.error(`${done} of ${total} pictures judged`);
  const judged = await judgeTexts({ evaluation, checkpoint, models: JUDGED, onPicture });
  await checkpoint.close();
  const models: EvaluationReport['models'] = [];
  for (const { name } of evaluated) {
    const known = last?.row(await digestOf(name), reference);
    models.push(known ?? judged.report.models.find(({ model }) => model === name)!);
  }
  const report = { ...judged.report, models };
  await save(judged, report);
  return report;
}

async function save(evaluation: Evaluation, report: EvaluationReport): Promise<void> {
  mkdirSync(results, { recursive: true });
  writeFileSync(join(results, 'quality.json'), serializeReport(report));
  const ranking = comparisonMarkdown(compareModels([{ name: 'quality', report }]));
  const made =
    'Made by `npm run evidence:quality`. Rows of earlier runs keep their times, and pictures that were made elsewhere or beside other work theirs: with `--anew` on a quiet machine all are comparable.';
  const text = [
    reportMarkdown(report),
    '## Ranked',
    '',
    ...ranking,
    '',
    `![Float32 above ${PRESETS.join(', ')}](contact-sheet.png)`,
  ];
  writeFileSync(join(results, 'quality.md'), `${[...text, '', made].join('\n')}\n`);
  writeFileSync(
    join(results, 'contact-sheet.html'),
    await contactSheetHtml(evaluation, { pictures: SHOWN_PROMPTS.page }),
  );
  const png = { pictures: SHOWN_PROMPTS.png };
  writeFileSync(join(results, 'contact-sheet.png'), await contactSheetPng(evaluation, png));
  writeFileSync(
    join(root, 'docs/images/emoji-float-w8a8-w4a8.png'),
    await contactSheetPng(evaluation, { ...png, models: SHOWN_IN_README }),
  );
  writeFileSync(join(example, 'fixtures/float-pictures.safetensors'), await floatPictures(evaluation));
}

/** What the test of quality compares with, and whose bits it repeats. */
async function floatPictures({ report, picture }: Evaluation): Promise<Uint8Array> {
  const tensors = new Map<string, ReturnType<typeof float32Tensor>>();
  for (let i = 0; i < FIXTURE_PICTURES; i++) {
    const { values, height, width } = await picture(report.reference.digest, i);
    tensors.set(`picture.${i}`, float32Tensor(values, [3, height, width]));
  }
  return serializeSafetensors(tensors, { command: 'npm run evidence:quality' });
}
