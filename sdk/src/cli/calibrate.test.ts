import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { runCli, startCli } from './testing/run-cli.ts';
import { makeTinyPipeline } from './testing/tiny-pipeline.ts';

const root = await mkdtemp(join(tmpdir(), 'edge-dit-calibrate-cli-'));
before(() => makeTinyPipeline(root, 'dit'));
after(() => rm(root, { recursive: true }));
const cli = (...args: string[]) => runCli(['calibrate', 'dit', ...args], root);
const bytesOf = (name: string) => readFile(join(root, name));

test('calibrate writes a file and says what is in it', async () => {
  const { code, stdout, stderr } = await cli('--out', 'new/c.safetensors', '--steps', '2', '--moments', '--json');
  assert.deepEqual([code, stderr], [0, '']);
  const { sha256, groups, ...rest } = JSON.parse(stdout);
  const out = 'new/c.safetensors';
  assert.deepEqual(rest, { out, conditions: 11, resumed: 0, steps: 2, guidance: 3, seed: 0, moments: true });
  assert.match(sha256, /^[0-9a-f]{64}$/);
  assert.ok(groups.every(({ tokens }: { tokens: number }) => tokens > 0));
  const text = await cli('--out', 'plain.safetensors', '--steps', '1', '--classes', '2,7,1', '--count', '2');
  assert.match(
    text.stdout,
    /^Wrote plain.safetensors: 2 conditions of 1 step, guidance 3\n {2}layers +\d+ in \d+ groups/,
  );
  assert.match(text.stderr, /^calibrating: 2 steps\n$/);
});

test('killed at any moment, the same command continues, to the same bytes', async () => {
  const args = ['--steps', '120', '--classes', '0,1,2,3', '--moments', '--threads', '1', '--save-every', '0'];
  assert.equal((await cli('--out', 'whole', ...args)).code, 0);
  const running = startCli(['calibrate', 'dit', '--out', 'killed', ...args], root);
  while (!existsSync(join(root, 'killed.partial'))) await sleep(5);
  running.process.kill('SIGKILL');
  await running.finished;
  assert.equal(existsSync(join(root, 'killed')), false);
  const other = await cli('--out', 'killed', ...args, '--seed', '2');
  assert.equal(other.code, 3);
  assert.match(other.stderr, /precondition-failed: killed\.partial .*\(seed 0, now 2\).* --restart/);
  const { code, stderr } = await cli('--out', 'killed', ...args);
  assert.equal(code, 0, stderr);
  assert.match(stderr, /continuing killed\.partial: [1-3] of 4 conditions done/);
  assert.deepEqual(await bytesOf('killed'), await bytesOf('whole'));
  assert.equal(existsSync(join(root, 'killed.partial')), false);
});

test('Ctrl-C: exit code 130, and no file', async () => {
  const args = ['--steps', '300', '--classes', '0,1,2', '--threads', '1', '--save-every', '3600'];
  const running = startCli(['calibrate', 'dit', '--out', 'c', ...args], root);
  await running.shows('stderr', /calibrating/);
  running.process.kill('SIGINT');
  const { code, stderr } = await running.finished;
  assert.equal(code, 130, stderr);
  assert.match(stderr, /edge-dit: aborted: /);
  assert.equal(existsSync(join(root, 'c')), false);
});

test('calibrate refuses what it cannot use', async () => {
  await writeFile(join(root, 'prompts.txt'), 'a cat\n');
  const cases: [string[], number, RegExp][] = [
    [['--prompts', 'prompts.txt'], 2, /--prompts: prompts\.txt: "a cat" is not a class of this model/],
    [['--classes', '1,99'], 2, /--classes: "99" is not a class of this model; expected 0 to/],
    [['--classes', '1', '--prompts', 'prompts.txt'], 2, /cannot be used with/],
    [['--prompts', 'none.txt'], 2, /--prompts: "none\.txt" does not exist/],
    [['--steps', '0'], 2, /--steps.*integer from 1 to 1000/],
  ];
  for (const [args, exitCode, message] of cases) {
    const { code, stdout, stderr } = await cli('--out', 'refused', ...args);
    assert.deepEqual([code, stdout], [exitCode, ''], stderr);
    assert.match(stderr, message);
  }
  assert.equal(existsSync(join(root, 'refused')), false);
});
