import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { runCli, startCli } from './testing/run-cli.ts';
import { makeTinyPipeline } from './testing/tiny-pipeline.ts';

const root = await mkdtemp(join(tmpdir(), 'edge-dit-mix-'));
before(() => makeTinyPipeline(root, 'dit'));
after(() => rm(root, { recursive: true }));
const cli = (...args: string[]) => runCli(args, root);
const mix = (...args: string[]) => cli('mix', 'dit', '--recipe', 'w4a8', ...args);
const jsonOf = async (name: string) => JSON.parse(await readFile(join(root, name), 'utf8'));

test('mix writes a map and prints it; another budget measures nothing', async () => {
  const { code, stdout, stderr } = await mix('--budget', '0.7', '--out', 'maps/a.json');
  assert.equal(code, 0, stderr);
  assert.match(
    stdout,
    /^Wrote maps\/a\.json: 12 layers of w4a8\n {2}block +attn1\.to_q.* ff\.net\.2\n +0( +[4568]){6}\n/,
  );
  assert.match(stdout, /bytes +[\d,]+ bytes .*, 0\.\d+ of float16's; the budget is 0\.7\n/);
  assert.match(stdout, /self-attention and feed-forward: 12 layers, .* judged by the picture\n/);
  assert.match(stderr, /^preparing: 8 conditions\n(preparing: .*\n)*measuring: 36 measurements\n(measuring: .*\n)*$/);
  const map = await jsonOf('maps/a.json');
  const { conditions, ...sample } = map.search.sample;
  assert.deepEqual(sample, { steps: 10, guidance: 3, seed: 0 });
  assert.ok(conditions.length > 0 && conditions.length <= 8);
  const other = await mix('--budget', '0.75', '--out', 'maps/b.json', '--json');
  assert.deepEqual([other.code, other.stderr], [0, '']);
  const { out, ...document } = JSON.parse(other.stdout);
  assert.equal(out, 'maps/b.json');
  assert.deepEqual(document, await jsonOf('maps/b.json'));
  assert.equal(document.search.measurements, map.search.measurements);
  assert.equal((await readdir(join(root, '.cache/edge-dit/sensitivity'))).length, 1);
});

test('quantize takes a map, and with a budget finds the same one', async () => {
  const quantize = async (...args: string[]) => {
    const made = await cli('quantize', 'dit', '--recipe', 'w4a8', '--json', ...args);
    assert.equal(made.code, 0, made.stderr);
    return JSON.parse(made.stdout);
  };
  const { search } = await jsonOf('maps/a.json');
  const mapped = await quantize('--bit-map', 'maps/a.json', '--out', 'mapped');
  assert.deepEqual(mapped.mixedPrecision, search);
  assert.ok(mapped.ratio <= 0.7 && mapped.ratio > 0.69);
  const searched = await quantize('--budget', '0.7', '--out', 'searched');
  assert.equal(searched.digest, mapped.digest);
  const text = await cli('quantize', 'dit', '--recipe', 'w4a8', '--bit-map', 'maps/a.json', '--out', 'mapped');
  assert.match(text.stdout, /\n {2}block +attn1\.to_q/);
});

test('Ctrl-C: exit code 130, no map, and what was measured is kept', async () => {
  const args = ['mix', 'dit', '--recipe', 'w4a8', '--budget', '0.7', '--steps', '20', '--threads', '1', '--out', 'c'];
  const cache = ['--cache', join(root, 'stopped')];
  const running = startCli([...args, ...cache], root);
  const lines = async () => {
    const names = await readdir(join(root, 'stopped/sensitivity')).catch(() => []);
    return names.length === 0
      ? 0
      : (await readFile(join(root, 'stopped/sensitivity', names[0]), 'utf8')).split('\n').length;
  };
  while ((await lines()) < 4) await new Promise((resolve) => setTimeout(resolve, 20));
  running.process.kill('SIGINT');
  const { code, stderr } = await running.finished;
  assert.equal(code, 130, stderr);
  assert.match(stderr, /edge-dit: aborted: /);
  assert.equal(existsSync(join(root, 'c')), false);
  const again = await runCli([...args, ...cache], root);
  assert.equal(again.code, 0, again.stderr);
  assert.match(again.stderr, /continuing: \d+ of 36 measurements done/);
});

test('what cannot be is refused', async () => {
  await writeFile(join(root, 'broken.json'), '{"format": "edge-dit-bit-map"}');
  const strange = { format: 'edge-dit-bit-map', version: 1, architecture: 'DiTTransformer2DModel', layers: { x: 4 } };
  await writeFile(join(root, 'strange.json'), JSON.stringify(strange));
  const quantize = ['quantize', 'dit', '--recipe', 'w4a8', '--out', 'refused'];
  const cases: [string[], number, RegExp][] = [
    [['mix', 'dit', '--recipe', 'w4a8', '--out', 'm'], 2, /recipe w4a8 has no budget; give one with --budget/],
    [['mix', 'dit', '--recipe', 'w4a8', '--out', 'm', '--budget', '0.2'], 2, /Give at least 0\.\d+/],
    [['mix', 'dit', '--recipe', 'w4a8', '--out', 'm', '--budget', '2'], 2, /--budget.*number from 0\.01 to 1/],
    [['mix', 'dit', '--recipe', 'w4a8', '--out', 'm', '--bits', '4,7'], 2, /--bits.*two or more of 4, 5, 6, 8/],
    [[...quantize, '--bits', '4,8'], 2, /--bits: there is no budget/],
    [[...quantize, '--bit-map', 'none.json'], 2, /--bit-map: "none\.json" does not exist/],
    [[...quantize, '--bit-map', 'broken.json'], 2, /--bit-map: broken\.json is no bit map: version/],
    [[...quantize, '--bit-map', 'strange.json'], 3, /names "x", which is no linear layer/],
    [[...quantize, '--bit-map', 'a', '--budget', '0.5'], 2, /cannot be used with/],
  ];
  for (const [args, exitCode, message] of cases) {
    const { code, stdout, stderr } = await cli(...args);
    assert.deepEqual([code, stdout], [exitCode, ''], stderr);
    assert.match(stderr, message);
  }
  assert.deepEqual([existsSync(join(root, 'm')), existsSync(join(root, 'refused'))], [false, false]);
});
