/**
 * Pictures of the emoji model on a GPU against those of the wasm engine: PSNR over whole generations, and with `--twice`
 * whether the GPU repeats itself. With a folder as argument, the models and encoded prompts come from there, or are put
 * there (`--prepare`: and nothing else): a machine with a GPU then needs nothing but this program and the folder.
 * `--recipes` and `--prompts N` say what; `--save FILE` writes the lines there too. A software GPU takes minutes a step.
 */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { openWebGpuEngine } from '@edge-dit/runtime/engines/open-webgpu';
import { Meter } from '@edge-dit/runtime/meter';
import { Pipeline } from '@edge-dit/runtime/pipeline';
import { FsStore } from '@edge-dit/runtime/stores/fs';
import { nodeGpu } from '@edge-dit/runtime/testing/node-gpu';
import type { TextEmbedding } from '@edge-dit/runtime/text/conditioning';
import { psnr } from '@edge-dit/sdk/evaluate/psnr';
import { compileKernels } from '@edge-dit/wasm-kernels/assemble';

const LEAST_PSNR = 45;
const STEPS = 20;

interface Encoded {
  readonly prompt: string;
  readonly tokens: number;
  readonly channels: number;
  readonly data: readonly number[];
  readonly mask: readonly number[];
}

const { values: flags, positionals } = parseArgs({
  options: {
    recipes: { type: 'string', default: 'vidit-q-w4a8,vidit-q-w8a8,vidit-q-w4a8-uniform' },
    prompts: { type: 'string', default: '3' },
    twice: { type: 'boolean', default: false },
    prepare: { type: 'boolean', default: false },
    save: { type: 'string' },
  },
  allowPositionals: true,
});
const recipes = flags.recipes.split(',');
const folder = positionals[0] ?? mkdtempSync(join(tmpdir(), 'webgpu-'));
const embeddings = join(folder, 'embeddings.json');
if (!existsSync(embeddings)) {
  mkdirSync(folder, { recursive: true });
  const { prepareEmoji } = await import('./webgpu-models.ts');
  writeFileSync(embeddings, JSON.stringify(await prepareEmoji(folder, recipes, Number(flags.prompts))));
  console.log(`models and prompts are in ${folder}`);
}
if (flags.prepare) process.exit(0);
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
  // Without the compilation of the kernels.
  const again = flags.twice ? await pipeline.generate(request) : generated;
  await pipeline.close();
  return {
    values: generated.values,
    seconds: again.timings.sample / 1000,
    repeats: again.values.every((value, i) => value === generated.values[i]),
  };
}

const lines: string[] = [];
function say(line: string): void {
  console.log(line);
  lines.push(line);
  if (flags.save) writeFileSync(flags.save, `${lines.join('\n')}\n`);
}

const adapter = await gpu.requestAdapter();
const { vendor, architecture, device, description } = adapter!.info;
const name = [vendor, architecture, device, description].filter((part) => part).join(', ');
const host = `Node ${process.version.slice(1)} with npm webgpu; ${new Date().toISOString().slice(0, 10)}`;
say(`${name}; ${host}; pictures of ${STEPS} steps against the wasm engine's, at least ${LEAST_PSNR} dB`);
let met = true;
for (const recipe of recipes) {
  for (const [i, prompt] of prompts.slice(0, Number(flags.prompts)).entries()) {
    const fast = await picture(recipe, prompt, i + 1, true);
    const plain = await picture(recipe, prompt, i + 1, false);
    const decibels = psnr(fast.values, plain.values);
    met &&= decibels >= LEAST_PSNR;
    const times = `${fast.seconds.toFixed(2)} s on the GPU, ${plain.seconds.toFixed(2)} s in wasm`;
    const repeats = flags.twice ? `, repeats: ${fast.repeats}` : '';
    say(`${recipe} "${prompt.prompt}": ${decibels.toFixed(1)} dB${repeats}, ${times}`);
  }
}
process.exit(met ? 0 : 1);
