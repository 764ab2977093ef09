import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { runCli } from './testing/run-cli.ts';
import { makeTinyPipeline } from './testing/tiny-pipeline.ts';

const root = await mkdtemp(join(tmpdir(), 'edge-dit-analyze-cli-'));
before(() => makeTinyPipeline(root, 'dit'));
after(() => rm(root, { recursive: true }));
const cli = (...args: string[]) => runCli(['analyze', 'dit', '--steps', '2', '--classes', '1,6', ...args], root);
const textOf = (name: string) => readFile(join(root, name), 'utf8');

test('analyze writes a page and the same figures as JSON', async () => {
  const args = ['--out', 'new/report.html', '--figures', 'report.json', '--recipe', 'w4a8', '--json'];
  const { code, stdout, stderr } = await cli(...args);
  assert.deepEqual([code, stderr], [0, '']);
  const printed = JSON.parse(stdout);
  assert.deepEqual([printed.format, printed.version, printed.conditions], ['edge-dit-analysis', 1, [1, 6]]);
  assert.deepEqual(JSON.parse(await textOf('report.json')), printed);
  assert.match(await textOf('new/report.html'), /^<!doctype html>.*<svg.*w4a8/s);
  const text = await cli('--out', 'plain.html');
  assert.match(text.stdout, /^Wrote plain\.html: \d+ layers on 2 conditions of 2 steps\n$/);
});

test('analyze refuses what it cannot use', async () => {
  await writeFile(join(root, 'junk'), 'junk, and long enough for a header');
  const cases: [string[], number, RegExp][] = [
    [['--recipe', 'w4a9'], 2, /unknown recipe "w4a9"/],
    [['--calibration', 'none'], 2, /calibration "none" cannot be read/],
    [['--calibration', 'junk'], 3, /checkpoint-malformed: junk: /],
  ];
  for (const [args, exitCode, message] of cases) {
    const { code, stdout, stderr } = await cli('--out', 'refused.html', ...args);
    assert.deepEqual([code, stdout], [exitCode, ''], stderr);
    assert.match(stderr, message);
  }
  assert.equal(existsSync(join(root, 'refused.html')), false);
});
