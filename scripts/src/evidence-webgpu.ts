/**
 * Pictures of the emoji model on a GPU against those of the wasm engine: PSNR over whole generations, and whether each
 * engine repeats itself. With a folder as argument, the models and encoded prompts come from there, or are put there:
 * a machine with a GPU then needs nothing but this program and the folder.
 */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openWebGpuEngine } from '@edge-dit/runtime/engines/open-webgpu';
import { Meter } from '@edge-dit/runtime/meter';
import { Pipeline } from '@edge-dit/runtime/pipeline';
import { FsStore } from '@edge-dit/runtime/stores/fs';
import { nodeGpu } from '@edge-dit/runtime/testing/node-gpu';
import type { TextEmbedding } from '@edge-dit/runtime/text/conditioning';
import { psnr } from '@edge-dit/sdk/evaluate/psnr';
import { compileKernels } from '@edge-dit/wasm-kernels/assemble';

const RECIPES = ['w4a8', 'w8a8'];
const PROMPTS = 3;
const LEAST_PSNR = 45;
const STEPS = 20;

interface Encoded {
  readonly prompt: string;
  readonly tokens: number;
  readonly channels: number;
  readonly data: readonly number[];
  readonly mask: readonly number[];
}

const folder =
  process.argv.find((argument, i) => i > 1 && !argument.startsWith('-')) ?? mkdtempSync(join(tmpdir(), 'webgpu-'));
const embeddings = join(folder, 'embeddings.json');
if (!existsSync(embeddings)) {
  mkdirSync(folder, { recursive: true });
  const { prepareEmoji } = await import('./webgpu-models.ts');
  writeFileSync(embeddings, JSON.stringify(await prepareEmoji(folder, RECIPES, PROMPTS)));
  console.log(`models and prompts are in ${folder}`);
  if (process.argv.includes('--prepare')) process.exit(0);
}
const found = await nodeGpu();
if (typeof found === 'string') {
  console.error(found);
  process.exit(1);
}
const gpu = found;
const encoded: Encoded[] = JSON.parse(readFileSync(embeddings, 'utf8'));
const rowOf = ({ tokens, channels, data, mask }: Encoded): TextEmbedding => {
  return { count: 1, tokens, channels, data: Float32Array.from(data), mask: Int32Array.from(mask) };
};
const [negative, ...prompts] = encoded;
const kernels = await compileKernels();

async function picture(recipe: string, prompt: Encoded, seed: number, onGpu: boolean) {
  const pipeline = await Pipeline.open({
    store: new FsStore(join(folder, recipe)),
    model: 'emoji',
    kernels,
    meter: new Meter(2 ** 30),
    openEngine: onGpu ? (_kernels, meter) => openWebGpuEngine(meter, { gpu }) : undefined,
  });
  const request = { embedding: { prompt: rowOf(prompt), negative: rowOf(negative) }, seed, steps: STEPS };
  const generated = await pipeline.generate(request);
  const again = await pipeline.generate(request);
  await pipeline.close();
  return {
    values: generated.values,
    seconds: again.timings.sample / 1000,
    repeats: again.values.every((value, i) => value === generated.values[i]),
  };
}

const adapter = await gpu.requestAdapter();
console.log(`${adapter?.info.vendor} ${adapter?.info.architecture} ${adapter?.info.description}, ${STEPS} steps`);
let met = true;
for (const recipe of RECIPES) {
  for (const [i, prompt] of prompts.entries()) {
    const fast = await picture(recipe, prompt, i + 1, true);
    const plain = await picture(recipe, prompt, i + 1, false);
    const decibels = psnr(fast.values, plain.values);
    met &&= decibels >= LEAST_PSNR;
    const times = `${fast.seconds.toFixed(2)} s on the GPU, ${plain.seconds.toFixed(2)} s in wasm`;
    console.log(`${recipe} "${prompt.prompt}": ${decibels.toFixed(1)} dB, repeats: ${fast.repeats}, ${times}`);
  }
}
process.exit(met ? 0 : 1);
