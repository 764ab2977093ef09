/**
 * A device that draws: a prompt in, a PNG out, in Node and in Deno by the same code. The model comes from a gateway or a published
 * store, is verified and kept in a folder; the prompt is embedded by an endpoint, or here; the engine is the fastest there is.
 */
import { writeFile } from 'node:fs/promises';
import process from 'node:process';
import { parseArgs } from 'node:util';
import { chooseEngine } from '@edge-dit/runtime/engines/choose-engine';
import { isEdgeDitError } from '@edge-dit/runtime/errors';
import { Meter } from '@edge-dit/runtime/meter';
import { createNodeOrtRuntime } from '@edge-dit/runtime/onnx/ort-node';
import { encodePng } from '@edge-dit/runtime/picture';
import { Pipeline } from '@edge-dit/runtime/pipeline';
import { cached } from '@edge-dit/runtime/stores/cached';
import { FsStore } from '@edge-dit/runtime/stores/fs';
import { GatewayStore } from '@edge-dit/runtime/stores/gateway';
import { HttpStore } from '@edge-dit/runtime/stores/http';
import { piecesIn } from '@edge-dit/runtime/stores/parts';
import { resumable } from '@edge-dit/runtime/stores/resumable';
import { storeCache } from '@edge-dit/runtime/stores/store-cache';
import { embeddingCache } from '@edge-dit/runtime/text/embedding-cache';
import { remoteTextEncoder } from '@edge-dit/runtime/text/remote-text-encoder';
import { compileKernels } from '@edge-dit/wasm-kernels/assemble';
import { findGpu } from './find-gpu.ts';

const HELP = `Draws on this machine.
  --from URL       a gateway or a published store; may be repeated, the nearest is asked
  --endpoint URL   embeds the prompt; it is embedded here without it
  --model NAME     default emoji-w4a8
  --prompt TEXT    default "red apple, fluent 3d style"
  --seed, --steps  numbers; default 1 and what the model says
  --engine NAME    auto (the fastest), webgpu, wasm-relaxed or wasm-simd; default auto
  --cache FOLDER   keeps the model; default .edge-dit/device
  --out FILE       default picture.png`;

const { values } = parseArgs({
  options: {
    from: { type: 'string', multiple: true, default: ['http://127.0.0.1:8788'] },
    endpoint: { type: 'string' },
    model: { type: 'string', default: 'emoji-w4a8' },
    prompt: { type: 'string', default: 'red apple, fluent 3d style' },
    seed: { type: 'string', default: '1' },
    steps: { type: 'string' },
    engine: { type: 'string', default: 'auto' },
    cache: { type: 'string', default: '.edge-dit/device' },
    out: { type: 'string', default: 'picture.png' },
    help: { type: 'boolean', default: false },
  },
});

async function draw(): Promise<void> {
  const { endpoint, model, prompt, seed, steps, engine, out } = values;
  const folder = storeCache(new FsStore(values.cache));
  const origins = new GatewayStore(values.from.map((address) => new HttpStore(address)));
  const pipeline = await Pipeline.open({
    store: cached(resumable(origins, piecesIn(folder)), folder),
    model,
    kernels: await compileKernels(),
    meter: new Meter(2 ** 30),
    openEngine: chooseEngine({ engine, gpu: await findGpu() }),
    onnx: createNodeOrtRuntime,
    wrapEncoder: (own, manifest) =>
      embeddingCache(endpoint === undefined ? own : remoteTextEncoder(endpoint, manifest), manifest, folder),
  });
  const picture = await pipeline.generate(
    { prompt, seed: Number(seed), steps: steps === undefined ? undefined : Number(steps) },
    { onStep: (step, of) => void process.stderr.write(`\rstep ${step} of ${of}${step === of ? '\n' : ''}`) },
  );
  await writeFile(out, encodePng(picture));
  const { name, notes } = pipeline.engine!;
  console.log(
    `${out}: ${picture.width} x ${picture.height}, ${(picture.timings.sample / 1000).toFixed(1)} s with ${name}`,
  );
  for (const note of notes) console.log(`  ${note}`);
  await pipeline.close();
}

if (values.help) console.log(HELP);
else {
  try {
    await draw();
  } catch (error) {
    if (!isEdgeDitError(error)) throw error;
    console.error(`${error.code}: ${error.message}`);
    process.exitCode = 1;
  }
}
// Dawn's threads would keep Node alive.
if (!process.exitCode) process.exit(0);
