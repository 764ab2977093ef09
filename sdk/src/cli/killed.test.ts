/** What `quantize` and `mix` had done when they were killed, again and again, is not done again, and changes no bit. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { writeRandomCheckpoint } from '../testing/random-checkpoint.ts';
import { documentOf, type Finished, runCli, startCli } from './testing/run-cli.ts';
import { makeTinyPipeline } from './testing/tiny-pipeline.ts';

const root = await mkdtemp(join(tmpdir(), 'edge-dit-killed-'));
after(() => rm(root, { recursive: true }));
const CACHE = join(root, '.cache/edge-dit');

/**
 * Runs a command, and kills it whenever it has finished `every` more of what it keeps.
 * @returns of the run that was not killed, and how many were
 */
async function killing(
  args: string[],
  kept: () => Promise<number>,
  every: number,
): Promise<Finished & { kills: number }> {
  for (let kills = 0; ; kills++) {
    const before = await kept();
    const running = startCli(args, root);
    let ended = false;
    const finished = running.finished.finally(() => {
      ended = true;
    });
    while (!ended && (await kept()) < before + every) await sleep(2);
    if (!ended) running.process.kill('SIGKILL');
    const result = await finished;
    if (result.code !== null) return { ...result, kills };
  }
}

async function filesIn(folder: string): Promise<string[]> {
  const names = await readdir(join(CACHE, folder), { recursive: true }).catch(() => []);
  return names.filter((name) => /\.(safetensors|jsonl)$/.test(name));
}

test('quantize, killed again and again: the digest of a run that was not', async () => {
  const hidden = { num_attention_heads: 3, attention_head_dim: 64, sample_size: 8, patch_size: 2 };
  const pixels = { in_channels: 3, out_channels: 3, num_embeds_ada_norm: 10, norm_type: 'ada_norm_zero' };
  const config = { ...hidden, ...pixels, num_layers: 2, activation_fn: 'gelu-approximate', attention_bias: true };
  await writeRandomCheckpoint({ folder: join(root, 'random'), seed: 1, architecture: 'DiTTransformer2DModel', config });
  const calibrate = ['calibrate', 'random', '--classes', '1', '--steps', '1', '--moments', '--out', 'c'];
  assert.equal((await runCli(calibrate, root)).code, 0);
  const quantize = ['quantize', 'random', '--recipe', 'vidit-q-w8a8', '--calibration', 'c', '--name', 'm', '--out'];
  const whole = documentOf<{ digest: string }>(await runCli([...quantize, 'whole', '--json'], root));
  const kept = async () => (await filesIn('quantized')).length;
  assert.equal(await kept(), 0, 'what is stored needs not be kept');
  const { code, stdout, stderr, kills } = await killing([...quantize, 'killed'], kept, 6);
  assert.equal(code, 0, stderr);
  assert.ok(kills >= 2, `${kills} kills`);
  assert.match(stderr, /continuing: \d+ of \d+ layers quantized before/);
  assert.match(stdout, new RegExp(`digest +${whole.digest}`));
  assert.equal(await kept(), 0);
});

test('mix, killed again and again: the map of a search that was not', async () => {
  await makeTinyPipeline(root, 'dit');
  const mix = ['mix', 'dit', '--recipe', 'w4a8', '--budget', '0.7', '--count', '2', '--threads', '1', '--out'];
  const whole = await runCli([...mix, 'whole.json', '--cache', 'other'], root);
  assert.equal(whole.code, 0, whole.stderr);
  const kept = async () => {
    const [name] = await filesIn('sensitivity');
    return name === undefined ? 0 : (await readFile(join(CACHE, 'sensitivity', name), 'utf8')).split('\n').length;
  };
  const { code, stderr, kills } = await killing([...mix, 'killed.json'], kept, 12);
  assert.equal(code, 0, stderr);
  assert.ok(kills >= 2, `${kills} kills`);
  assert.match(stderr, /continuing: \d+ of 36 measurements done/);
  assert.equal(existsSync(join(root, 'killed.json')), true);
  assert.equal(await readFile(join(root, 'killed.json'), 'utf8'), await readFile(join(root, 'whole.json'), 'utf8'));
});
