/** Real workers of Node: the bits of one thread for a step and a picture, and no hang when a thread is lost. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { threadedEngine } from '@edge-dit/runtime/engines/open-threaded-wasm';
import { type OpenEngine, openWasmEngine } from '@edge-dit/runtime/engines/open-wasm';
import { isEdgeDitError } from '@edge-dit/runtime/errors';
import { Meter } from '@edge-dit/runtime/meter';
import { loadModel } from '@edge-dit/runtime/models/load-model';
import { createNodeOrtRuntime } from '@edge-dit/runtime/onnx/ort-node';
import { Pipeline } from '@edge-dit/runtime/pipeline';
import { instantiateKernels, supportedVariants, type Variant } from '@edge-dit/wasm-kernels';
import { compileKernels } from '@edge-dit/wasm-kernels/assemble';
import { openThreads, type SpawnThread, type Thread } from '@edge-dit/wasm-kernels/threads/threaded-kernels';
import { stepInputs } from '../bench/core/step-inputs.ts';
import { openCheckpoint } from '../checkpoint/checkpoint.ts';
import { makeTinyPipeline } from '../cli/testing/tiny-pipeline.ts';
import { quantize } from '../quantize/quantize.ts';
import { recipeByName } from '../recipes/index.ts';
import { publishEmoji } from '../testing/emoji-store.ts';
import { spawnNodeThread } from './node-threads.ts';

const alone = await compileKernels();
const shared = await compileKernels({ shared: true });
const [fastest] = supportedVariants();

test('a step of the emoji model has the same bits on 1, 2 and 3 threads, in every variant', async () => {
  const emoji = await publishEmoji('w4a8');
  const step = async (open: OpenEngine, modules: typeof alone, variant?: Variant) => {
    const { engine, close } = await open(modules, new Meter(), variant);
    const { architecture, transformer } = await loadModel(emoji.store, emoji.manifest, engine);
    const { sample, timesteps, conditions } = stepInputs(architecture.geometry, { batch: 2, tokens: 77 });
    const values = await transformer.begin(conditions).forward(sample, timesteps);
    close();
    return values;
  };
  try {
    const expected = await step(openWasmEngine, alone);
    for (const threads of [2, 3]) {
      for (const variant of supportedVariants()) {
        const got = await step(threadedEngine({ threads, spawn: spawnNodeThread }), shared, variant);
        assert.deepEqual(got, expected, `${threads} threads, ${variant}`);
      }
    }
  } finally {
    await emoji.remove();
  }
});

test('a picture has the same bits, W8A8 with a VAE; closing the pipeline ends the threads and gives memory back', async () => {
  const root = await mkdtemp(join(tmpdir(), 'edge-dit-threads-'));
  after(() => rm(root, { recursive: true }));
  const checkpoint = await openCheckpoint(await makeTinyPipeline(root, 'dit'));
  const { FsStore } = await import('@edge-dit/runtime/stores/fs');
  const store = new FsStore(join(root, 'store'));
  await quantize({ checkpoint, recipe: recipeByName('w8a8'), model: 'tiny', store });
  await checkpoint.close();
  const threads: Thread[] = [];
  const spawn: SpawnThread = (start) => {
    threads.push(spawnNodeThread(start));
    return threads.at(-1)!;
  };
  const picture = async (openEngine: OpenEngine | undefined) => {
    const kernels = openEngine ? shared : alone;
    const pipeline = await Pipeline.open({ store, model: 'tiny', kernels, openEngine, onnx: createNodeOrtRuntime });
    const { values } = await pipeline.generate({ class: 1, seed: 5, steps: 3 });
    await pipeline.close();
    return { values, held: pipeline.meter.current };
  };
  const one = await picture(undefined);
  const four = await picture(threadedEngine({ threads: 4, spawn }));
  assert.deepEqual(four.values, one.values);
  assert.equal(four.held, one.held);
  assert.equal(threads.length, 3);
  await Promise.all(threads.map(({ ended }) => ended));
});

/** Kernels on two threads over a memory of 8 MiB, every call shared. */
async function open(spawn: SpawnThread = spawnNodeThread) {
  const memory = new WebAssembly.Memory({ initial: 128, maximum: 65536, shared: true });
  const modules = [shared.float, shared[fastest]!];
  const kernels = instantiateKernels(modules[0], modules[1], memory, fastest);
  const failure = (message: string) => new Error(message);
  return openThreads(kernels, { modules, memory, scratch: [1 << 20], spawn, failure, leastCost: 1 });
}

test('a kernel that traps is an error of the call and of all later ones', async () => {
  const { kernels, close } = await open();
  kernels.gelu(64, 64, 1 << 21, 1 << 22);
  assert.throws(() => kernels.gelu(64, 64, 2 ** 32 - 2 ** 16, 1 << 22), /thread of the engine failed: gelu: .*memory/);
  assert.throws(() => kernels.gelu(64, 64, 1 << 21, 1 << 22), /thread of the engine is gone: gelu/);
  close();
});

test('a thread that ends by itself, and an engine that was closed, are errors', async () => {
  let thread: Thread | undefined;
  const opened = await open((start) => {
    thread = spawnNodeThread(start);
    return thread;
  });
  thread!.terminate();
  await thread!.ended;
  assert.throws(() => opened.kernels.gelu(64, 64, 1 << 21, 1 << 22), /is gone: it exited with/);
  opened.close();
  const closed = await open();
  closed.close();
  assert.throws(() => closed.kernels.gelu(64, 64, 1 << 21, 1 << 22), /the engine was closed/);
});

test('what cannot be opened is a typed error, and nothing stays metered', async () => {
  const meter = new Meter();
  const broken: SpawnThread = (start) => spawnNodeThread({ ...start, memory: undefined as never });
  await assert.rejects(threadedEngine({ threads: 2, spawn: broken })(shared, meter), (error) =>
    isEdgeDitError(error, 'engine-unavailable'),
  );
  await assert.rejects(threadedEngine({ threads: 2, spawn: spawnNodeThread })(alone, meter), (error) =>
    isEdgeDitError(error, 'invalid-argument'),
  );
  assert.equal(meter.current, 0);
  assert.throws(() => threadedEngine({ threads: 1, spawn: spawnNodeThread }), /threads 1 is not/);
});
