import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { type SafetensorsTensor, serializeSafetensors } from '@edge-dit/runtime/safetensors';
import type { RankedModel } from '../evaluate/compare.ts';
import { type EvaluationReport, parseReport } from '../evaluate/report.ts';
import { makeTinyClassifier } from '../testing/tiny-classifier.ts';
import { readPng } from './testing/read-png.ts';
import { runCli, startCli } from './testing/run-cli.ts';
import { makeTinyPipeline } from './testing/tiny-pipeline.ts';

const root = await mkdtemp(join(tmpdir(), 'edge-dit-eval-'));
after(() => rm(root, { recursive: true }));
const cli = (...args: string[]) => runCli(args, root);

interface Evaluated {
  readonly report: EvaluationReport;
  readonly computed: number;
  readonly kept: number;
  readonly files: readonly string[];
}

async function document<T>(...args: string[]): Promise<T> {
  const { code, stdout, stderr } = await cli(...args, '--json');
  assert.deepEqual([code, stderr], [0, '']);
  return JSON.parse(stdout);
}

const ASKED = ['--checkpoint', 'dit', '--classes', '1,4,7', '--steps', '2', '--seed', '9', '--out', 'e'];

before(async () => {
  await makeTinyPipeline(root, 'dit');
  for (const recipe of ['f16', 'w8a8', 'w4a8'])
    await document('quantize', 'dit', '--recipe', recipe, '--out', 'models');
});

/** Every file of kept pictures, with the time when it was written. */
async function keptFiles(): Promise<Map<string, number>> {
  const folder = join(root, 'e/pictures');
  const names = (await readdir(folder, { recursive: true })).filter((name) => name.includes('.safetensors'));
  const times = await Promise.all(names.map(async (name) => (await stat(join(folder, name))).mtimeMs));
  return new Map(names.map((name, i) => [name, times[i]]));
}

test('eval reports quality and cost, and what is kept is not computed again', async () => {
  const first = await document<Evaluated>('eval', 'models/dit-w8a8', ...ASKED);
  assert.deepEqual([first.computed, first.kept], [6, 0]);
  const before = await keptFiles();
  assert.equal(before.size, 6);
  // A further model, and an earlier one by another syntax: only the new one's pictures are computed.
  const second = await document<Evaluated>('eval', '--store', 'models', ...ASKED);
  assert.deepEqual([second.computed, second.kept], [6, 6]);
  const afterwards = await keptFiles();
  for (const [name, time] of before) assert.equal(afterwards.get(name), time, 'a kept picture is not touched');
  const { report } = second;
  assert.deepEqual(report, JSON.parse(await readFile(join(root, 'e/report.json'), 'utf8')));
  assert.deepEqual(
    report.models.map(({ model }) => model),
    ['dit-f16', 'dit-w4a8', 'dit-w8a8'],
  );
  assert.deepEqual(
    report.requests.map(({ condition, seed }) => [condition, seed]),
    [
      [1, 9],
      [4, 10],
      [7, 11],
    ],
  );
  const [f16, w4a8, w8a8] = report.models;
  assert.deepEqual(w8a8.psnr, first.report.models[0].psnr, 'figures repeat');
  assert.ok(w4a8.psnr.worst < w4a8.psnr.mean && w4a8.psnr.mean < w8a8.psnr.mean && w8a8.psnr.mean < f16.psnr.mean);
  assert.ok(w4a8.gmsd.mean > w8a8.gmsd.mean && w4a8.ssim.mean < w8a8.ssim.mean && w8a8.ssim.worst <= 1);
  assert.ok(w4a8.bytes < w8a8.bytes && w8a8.bytes < f16.bytes && w4a8.ratio === w4a8.bytes / w4a8.floatBytes16);
  for (const { msPerStep, peakBytes, pictures, engines } of report.models) {
    assert.ok(msPerStep > 0 && peakBytes > 0 && pictures.length === 3);
    assert.match(engines[0], /^wasm-/);
  }
  assert.equal(report.reference.model, 'float32');
  const markdown = await readFile(join(root, 'e/report.md'), 'utf8');
  assert.match(markdown, /^# .*\n\n3 pictures of 3 classes, steps 2, guidance 3, seeds 9 to 11; /);
  assert.match(markdown, /^\| dit-w4a8 \| +\d+\.\d \|/m);
});

test('the contact sheets: everything in one page, and a PNG of rows', async () => {
  const page = await readFile(join(root, 'e/contact-sheet.html'), 'utf8');
  assert.equal(page.match(/<img /g)?.length, 3 * (1 + 2 * 3), 'float, and each model beside its difference');
  assert.equal(page.match(/src="data:image\/png;base64,/g)?.length, 3 * (1 + 2 * 3));
  assert.doesNotMatch(page, /(?:src|href)="(?!data:)|<script|url\(/);
  assert.match(page, /prefers-color-scheme: dark[\s\S]*8 times as large/);
  const { models } = parseReport(await readFile(join(root, 'e/report.json'), 'utf8'), 'report.json');
  assert.ok(page.includes(`${models[1].pictures[0].psnr.toFixed(1)} dB`), 'figures under a picture');
  const { width, height } = readPng(await readFile(join(root, 'e/contact-sheet.png')));
  assert.deepEqual([width, height], [3 * 32, 4 * 32]);
});

test('eval against a model of a store; equal pictures have a PSNR without end, which JSON says as null', async () => {
  const args = ['models/dit-f16', '--float', 'models/dit-f16', '--classes', '1', '--steps', '2', '--out', 'same'];
  const { report, computed } = await document<Evaluated>('eval', ...args);
  assert.equal(computed, 1, 'the pictures of one digest are made once');
  const [{ psnr, ssim, gmsd }] = report.models;
  assert.deepEqual([psnr.mean, psnr.worst, ssim.mean, gmsd.mean], [null, null, 1, 0]);
  const { models } = parseReport(await readFile(join(root, 'same/report.json'), 'utf8'), 'same/report.json');
  assert.equal(models[0].psnr.worst, Number.POSITIVE_INFINITY);
  assert.match(await readFile(join(root, 'same/report.md'), 'utf8'), /\| +inf \|/);
});

test('killed in the middle, it goes on where it was', async () => {
  const long = [
    'models/dit-w8a8',
    '--checkpoint',
    'dit',
    '--count',
    '40',
    '--steps',
    '6',
    '--threads',
    '1',
    '--out',
    'e',
  ];
  const known = await keptFiles();
  const running = startCli(['eval', ...long], root);
  while ((await keptFiles()).size < known.size + 3) await new Promise((resolve) => setTimeout(resolve, 5));
  running.process.kill('SIGKILL');
  await running.finished;
  const made = [...(await keptFiles())].filter(([name]) => !known.has(name) && name.endsWith('.safetensors'));
  assert.ok(made.length >= 3 && made.length < 80, `${made.length} pictures were made before`);
  const { computed, kept } = await document<Evaluated>('eval', ...long);
  assert.deepEqual([computed, kept], [80 - made.length, made.length]);
  const now = await keptFiles();
  for (const [name, time] of made) assert.equal(now.get(name), time);
});

test('Ctrl-C: exit code 130, and no report', async () => {
  const args = ['eval', 'models/dit-w8a8', '--checkpoint', 'dit', '--count', '10', '--steps', '1000', '--out', 'never'];
  const running = startCli(args, root);
  await running.shows('stderr', /evaluating: 20 pictures/);
  running.process.kill('SIGINT');
  const { code, stderr } = await running.finished;
  assert.equal(code, 130, stderr);
  assert.match(stderr, /edge-dit: aborted: /);
  assert.equal(existsSync(join(root, 'never/report.json')), false);
});

test('prompts, and whether the pictures show them', async () => {
  const emoji = fileURLToPath(new URL('../../../examples/emoji/', import.meta.url));
  await document('quantize', join(emoji, 'model'), '--recipe', 'w4a8', '--out', 'emoji', '--name', 'w4a8');
  const prompts = (await readFile(join(emoji, 'evaluation_prompts.txt'), 'utf8')).split('\n').slice(0, 5);
  await writeFile(join(root, 'four.txt'), prompts.join('\n'));
  const args = ['eval', '--store', 'emoji', '--checkpoint', join(emoji, 'model'), '--prompts', 'four.txt'];
  const asked = [...args, '--steps', '1', '--text-agreement', '--out', 'texts'];
  const { report, computed } = await document<Evaluated>(...asked);
  assert.equal(computed, 8);
  const [model] = report.models;
  assert.ok(model.psnr.mean > 20 && model.psnr.worst < 60, `${model.psnr.mean} dB`);
  for (const { textAgreement } of [report.reference, model]) {
    assert.ok(textAgreement && textAgreement.share >= 0.5, 'what one step gives is no noise to the judge');
  }
  assert.match(await readFile(join(root, 'texts/report.md'), 'utf8'), /^\| float32 \| +\d+\.\d% \|/m);
  const again = await document<Evaluated>(...asked);
  assert.equal(again.computed, 0);
  assert.deepEqual(again.report.models, report.models);
});

test('a classifier judges class models, and keeps what it saw', async () => {
  const classifier = await makeTinyClassifier(join(root, 'classifier'));
  const images = Uint8Array.from({ length: 4 * 32 * 32 * 3 }, (_, i) => (i * 2_654_435_761) >>> 24);
  const real = new Map<string, SafetensorsTensor>([
    ['images', { dtype: 'U8', shape: [4, 32, 32, 3], bytes: images }],
    ['labels', { dtype: 'I32', shape: [4], bytes: new Uint8Array(16) }],
  ]);
  await writeFile(join(root, 'real.safetensors'), serializeSafetensors(real));
  const judged = ['--classifier', classifier, '--tests', 'real.safetensors', '--class-pictures', '3'];
  const { report, kept } = await document<Evaluated>('eval', 'models/dit-w4a8', ...ASKED, ...judged);
  assert.equal(kept, 6);
  const [{ classAgreement }] = report.models;
  assert.ok(classAgreement && classAgreement.frechetToReference > report.reference.classAgreement!.frechetToReference);
  assert.equal(report.reference.classAgreement?.agreesWithReference, 1);
  assert.deepEqual([report.classes?.pictures, report.classes?.tests.pictures], [3, 4]);
  assert.match(await readFile(join(root, 'e/report.md'), 'utf8'), /^\| model +\| Frechet to real \|/m);
});

test('compare ranks the models of reports', async () => {
  const { by, models } = await document<{ by: string; models: RankedModel[] }>('compare', 'e/report.json');
  assert.equal(by, 'psnr');
  assert.equal(models.length, 1, 'the last report of that folder');
  const args = ['eval', '--store', 'models', ...ASKED.slice(0, -1)];
  await document<Evaluated>(...args, 'all');
  const ranked = await document<{ models: RankedModel[] }>('compare', 'all/report.json', '--by', 'bytes');
  assert.deepEqual(
    ranked.models.map(({ model, ranks }) => [model, ranks.bytes, ranks.psnr]),
    [
      ['dit-w4a8', 1, 3],
      ['dit-w8a8', 2, 2],
      ['dit-f16', 3, 1],
    ],
  );
  const { stdout } = await cli('compare', 'all/report.json', '--by', 'bytes');
  assert.match(stdout, /^\| model .*\n\| -.*\n\| dit-w4a8 .*\n\| dit-w8a8 .*\n\| dit-f16 /);
  const { stdout: quiet } = await cli('compare', 'all/report.json', '--quiet');
  assert.equal(quiet, 'dit-f16\ndit-w8a8\ndit-w4a8\n');
});

test('what cannot be evaluated or compared is refused', async () => {
  const refused = async (pattern: RegExp, ...args: string[]) => {
    const { code, stderr, stdout } = await cli(...args);
    assert.deepEqual([code, stdout], [2, ''], stderr);
    assert.match(stderr, pattern);
  };
  const out = ['--out', 'x'];
  await refused(/eval needs models/, 'eval', '--checkpoint', 'dit', ...out);
  await refused(/needs --checkpoint <folder> or --float/, 'eval', 'models/dit-w8a8', ...out);
  await refused(/--store: none holds no models/, 'eval', '--store', 'none', '--checkpoint', 'dit', ...out);
  const known = ['eval', 'models/dit-w8a8', '--checkpoint', 'dit', ...out];
  await refused(/--text-agreement needs --checkpoint/, ...['eval', 'a', '--float', 'b', '--text-agreement', ...out]);
  await refused(/--classifier and --tests go together/, ...known, '--tests', 'none');
  await refused(/--classes: "11" is not a class of this model; expected .* 0 to 10/, ...known, '--classes', '1,11');
  await makeTinyPipeline(root, 'pixart-alpha');
  await refused(/eval needs --prompts/, 'eval', 'models/dit-w8a8', '--checkpoint', 'pixart-alpha', ...out);
  await writeFile(join(root, 'prompts.txt'), '# none\n');
  await refused(/--prompts: prompts.txt has no prompts or classes/, ...known, '--prompts', 'prompts.txt');
  await writeFile(join(root, 'prompts.txt'), 'red apple\n');
  await refused(
    /dit-w8a8 has another architecture, config or sampler than float32/,
    ...['eval', 'models/dit-w8a8', '--checkpoint', 'pixart-alpha', '--prompts', 'prompts.txt', ...out],
  );
  await refused(/report: "none.json" does not exist/, 'compare', 'none.json');
  await refused(/prompts.txt is not JSON/, 'compare', 'prompts.txt');
  await writeFile(join(root, 'old.json'), '{"format":"edge-dit-evaluation","version":0}');
  await refused(/old.json is not a report of this version of "edge-dit eval": version: /, 'compare', 'old.json');
  await refused(
    /all\/report.json and same\/report.json are of different float networks and prompts, classes or seeds/,
    ...['compare', 'all/report.json', 'same/report.json'],
  );
});
