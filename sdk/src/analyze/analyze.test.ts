import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { isEdgeDitError } from '@edge-dit/runtime/errors';
import { calibrate } from '../calibrate/calibrate.ts';
import { openCheckpoint } from '../checkpoint/checkpoint.ts';
import { makeTinyPipeline } from '../cli/testing/tiny-pipeline.ts';
import { recipeByName } from '../recipes/index.ts';
import { type AnalyzeOptions, analyze } from './analyze.ts';
import { analysisHtml } from './report/analysis-html.ts';

const root = await mkdtemp(join(tmpdir(), 'edge-dit-analyze-'));
const checkpoint = await openCheckpoint(await makeTinyPipeline(root, 'dit'));
after(async () => {
  await checkpoint.close();
  await rm(root, { recursive: true });
});
const recipes = ['f16', 'w8a8', 'w4a8'].map(recipeByName);
const options: AnalyzeOptions = { checkpoint, conditions: [1, 4], steps: 3, recipes, threads: 1 };
const analysis = await analyze(options);

test('every layer, operand, step and block has its figures, and fewer bits lose more', () => {
  const { layers, operands } = analysis;
  const body = [...checkpoint.tensors.keys()].filter((name) => /(attn1.*|ff.*)\.weight$/.test(name));
  assert.deepEqual(layers.map(({ name }) => `${name}.weight`).sort(), body.sort());
  assert.deepEqual(operands.flatMap(({ layers }) => layers).sort(), layers.map(({ name }) => name).sort());
  for (const { name, errors } of layers) {
    for (const { weight, activation, output } of Object.values(errors)) {
      for (const bits of [weight, activation]) assert.ok(bits[8] < bits[6] && bits[6] < bits[4] && bits[8] > 0, name);
      assert.ok(output.W8A8 < output.W6A6 && output.W8A8 < output.W4A8 && output.W4A8 < 1, name);
    }
  }
  for (const { variance, incoherence } of operands) {
    assert.ok(Object.values(variance).every((value) => value >= 1 && value < 100));
    for (const values of Object.values(incoherence))
      assert.ok(values.length === 3 && values.every((value) => value > 1));
  }
  const [f16, w8a8, w4a8] = analysis.recipes;
  for (const part of ['steps', 'blocks'] as const) {
    assert.equal(f16[part].length, part === 'steps' ? 3 : Number(checkpoint.config.num_layers));
    f16[part].forEach((error, i) => {
      assert.ok(0 < error && error < w8a8[part][i] && w8a8[part][i] < w4a8[part][i], `${part} ${i}`);
    });
  }
});

test('threads change no figure; a calibration that is given is taken', async () => {
  const calibration = await calibrate({ checkpoint, conditions: [1, 4], steps: 3, moments: true });
  assert.deepEqual(await analyze({ ...options, calibration, threads: 2 }), analysis);
});

test('a calibration of another checkpoint is refused', async () => {
  const calibration = await calibrate({ checkpoint, conditions: [1], steps: 1 });
  const wrong = analyze({ ...options, calibration: { ...calibration, checkpoint: '0'.repeat(64) } });
  await assert.rejects(wrong, (error) => isEdgeDitError(error, 'invalid-argument'));
});

test('the page needs no other file, has a table under each plot, and takes prompts as text', () => {
  const html = analysisHtml({ ...analysis, conditions: ['<script>alert(1)</script>'] });
  assert.doesNotMatch(html, /https?:|src=|href=|<script|url\(|NaN|undefined|Infinity/);
  assert.match(html, /&lt;script&gt;alert/);
  const sections = html.split('<section>').slice(1);
  assert.ok(sections.length >= 10);
  for (const section of sections)
    assert.ok(section.lastIndexOf('<table>') > section.lastIndexOf('<svg'), section.slice(0, 80));
  for (const { name } of analysis.layers) assert.ok(html.includes(`>${name}<`), name);
});
