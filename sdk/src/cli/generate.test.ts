import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { ReferenceEngine } from '@edge-dit/runtime/engines/reference';
import { loadManifest } from '@edge-dit/runtime/load-manifest';
import type { Conditions } from '@edge-dit/runtime/models/architecture';
import { loadModel } from '@edge-dit/runtime/models/load-model';
import { gaussianNoise, noiseStream } from '@edge-dit/runtime/noise';
import { type Picture, pictureOf } from '@edge-dit/runtime/picture';
import { FsStore } from '@edge-dit/runtime/stores/fs';
import { readEmbeddingFile } from '../embedding-file.ts';
import { readPng } from './testing/read-png.ts';
import { runCli } from './testing/run-cli.ts';
import {
  decodePlainly,
  LATENT_CHANNELS,
  makeTinyPipeline,
  type TinyName,
  writeEmbedding,
} from './testing/tiny-pipeline.ts';

const root = await mkdtemp(join(tmpdir(), 'edge-dit-generate-'));
after(() => rm(root, { recursive: true }));

async function cli(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await runCli(args, root);
  assert.equal(code, 0, stderr);
  return stdout;
}

const STEPS = 4;
const GUIDANCE = 3;

/** DDIM of four steps (Song et al. 2021, equation 12) in float64, over the plain loops of the reference engine. */
async function plainly(model: string, seed: number, given: Omit<Conditions, 'batch' | 'frames'>): Promise<Picture> {
  const { height, width } = given;
  const store = new FsStore(join(root, 'models'));
  const { manifest } = await loadManifest(store, model);
  const { transformer, architecture } = await loadModel(store, manifest, new ReferenceEngine());
  const { inChannels, outChannels } = architecture.geometry;
  assert.deepEqual([inChannels, outChannels], [LATENT_CHANNELS, 2 * LATENT_CHANNELS], 'sigma is learned');
  const size = inChannels * height * width;
  const session = transformer.begin({ ...given, batch: 2, frames: 1 });
  const alphas = [1];
  for (let t = 0; t < 1000; t++) alphas.push(alphas[t] * (1 - (1e-4 + ((0.02 - 1e-4) * t) / 999)));
  let x = [...gaussianNoise(seed, noiseStream(0, 0), size)];
  for (const t of [750, 500, 250, 0]) {
    const output = await session.forward(Float32Array.from([...x, ...x]), [t, t]);
    const now = alphas[t + 1];
    const next = t === 0 ? 1 : alphas[t - 250 + 1];
    x = x.map((value, i) => {
      const noise = output[i] + GUIDANCE * (output[2 * size + i] - output[i]);
      return Math.sqrt(next) * ((value - Math.sqrt(1 - now) * noise) / Math.sqrt(now)) + Math.sqrt(1 - next) * noise;
    });
  }
  return pictureOf(decodePlainly(Float32Array.from(x), height, width), 3, 2 * height, 2 * width);
}

const CASES: readonly { name: TinyName; height: number; width: number; size: string[] }[] = [
  { name: 'dit', height: 16, width: 16, size: [] },
  { name: 'pixart-alpha', height: 16, width: 16, size: [] },
  { name: 'pixart-microcond', height: 32, width: 24, size: ['--height', '64', '--width', '48'] },
];

for (const { name, height, width, size } of CASES) {
  test(`${name}: latents, learned sigma and conditions become the picture of plain arithmetic`, async () => {
    await makeTinyPipeline(root, name);
    await cli('quantize', name, '--recipe', 'f16', '--out', 'models');
    const condition = name === 'dit' ? ['--class', '3'] : ['--embedding', `${name}.safetensors`];
    if (name !== 'dit') await writeEmbedding(name, join(root, `${name}.safetensors`));
    const options = ['--steps', String(STEPS), '--guidance', String(GUIDANCE), '--seed', '5', ...size, ...condition];
    await cli('generate', '--model', `models/${name}-f16`, ...options, '--out', `${name}/new/a.png`);
    const got = readPng(await readFile(join(root, name, 'new/a.png')));
    const text = name === 'dit' ? undefined : await embeddings(join(root, `${name}.safetensors`));
    const expected = await plainly(`${name}-f16`, 5, {
      height,
      width,
      text,
      labels: name === 'dit' ? [11, 3] : undefined,
      resolution: Float32Array.of(2 * height, 2 * width, 2 * height, 2 * width),
      aspectRatio: Float32Array.of(height / width, height / width),
    });
    assert.deepEqual([got.width, got.height], [expected.width, expected.height]);
    // Without rounding to int8, where a last bit decides between two codes.
    const differences = got.rgb.map((value, i) => Math.abs(value - expected.rgb[i]));
    const spread = Math.max(...expected.rgb) - Math.min(...expected.rgb);
    assert.ok(spread > 100, `a picture of ${spread} levels shows nothing`);
    assert.ok(Math.max(...differences) <= 2, `differs by ${Math.max(...differences)} levels`);
  });
}

/** Negative first, as guidance has it. */
async function embeddings(path: string) {
  const { negative, prompt } = readEmbeddingFile(new Uint8Array(await readFile(path)), path);
  const data = Float32Array.of(...negative.data, ...prompt.data);
  return { ...prompt, count: 2, data, mask: Int32Array.of(...negative.mask, ...prompt.mask) };
}

test('the same request gives the same bytes, whatever the variant and the threads; another seed gives others', async () => {
  await cli('quantize', 'dit', '--recipe', 'w8a8', '--out', 'models');
  const options = ['--model', 'models#dit-w8a8', '--class', '1', '--steps', '3', '--quiet'];
  assert.equal(
    await cli('generate', ...options, '--seed', '8', '--count', '2', '--out', 'n.png'),
    'n-1.png\nn-2.png\n',
  );
  assert.equal(
    await cli('generate', ...options, '--seed', '9', '--variant', 'simd', '--threads', '1', '--out', 'again.png'),
    'again.png\n',
  );
  await cli('generate', ...options, '--seed', '9', '--threads', '3', '--out', 'threads.png');
  const [first, second, again, threads] = await Promise.all(
    ['n-1.png', 'n-2.png', 'again.png', 'threads.png'].map((p) => readFile(join(root, p))),
  );
  assert.deepEqual(again, second);
  assert.deepEqual(threads, second);
  assert.notDeepEqual(first, second);
});

test('--json tells of the engine, the memory and each picture', async () => {
  const options = ['--model', 'models/dit-w8a8', '--class', '1', '--steps', '2', '--json', '--memory', '1GiB'];
  const { pictures, engine, peakBytes, memoryBytes, steps, guidance } = JSON.parse(
    await cli('generate', ...options, '--out', 'j.png'),
  );
  assert.match(engine, /^wasm-(simd|relaxed)$/);
  assert.ok(peakBytes > 0 && peakBytes < memoryBytes && memoryBytes === 2 ** 30);
  assert.deepEqual([steps, guidance], [2, 3]);
  const [{ path, seed, width, height, bytes, timingsMs }] = pictures;
  assert.deepEqual([path, seed, width, height], ['j.png', 1, 32, 32]);
  assert.equal(bytes, (await stat(join(root, 'j.png'))).size);
  assert.deepEqual(Object.keys(timingsMs), ['encode', 'load', 'sample', 'decode']);
});

test('embeddings that do not fit are refused by name', async () => {
  const refusal = async (...args: string[]) => {
    const { code, stderr } = await runCli(['generate', '--out', 'x.png', ...args], root);
    assert.equal(code, 2, stderr);
    return stderr;
  };
  const wrong = await refusal('--model', 'models/pixart-alpha-f16', '--embedding', 'pixart-microcond.safetensors');
  assert.match(wrong, /has 24 channels, the model takes 40/);
  const both = await refusal('--model', 'models/pixart-alpha-f16', '--embedding', 'x', '--prompt', 'y');
  assert.match(both, /without --prompt/);
  assert.match(await refusal('--model', 'models/dit-w8a8', '--embedding', 'x'), /takes --class/);
  assert.match(await refusal('--model', 'models/pixart-alpha-f16', '--prompt', 'y'), /ships no text encoder/);
});
