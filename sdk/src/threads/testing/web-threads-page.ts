/**
 * A page for the test: draws on one thread and on two, has a worker alone run a kernel, and posts what it saw. Its modules
 * are those of the packages, unbundled; the import map says where they are.
 */
import { threadedEngine } from '@edge-dit/runtime/engines/open-threaded-wasm';
import type { OpenEngine } from '@edge-dit/runtime/engines/open-wasm';
import { isEdgeDitError } from '@edge-dit/runtime/errors';
import { Pipeline } from '@edge-dit/runtime/pipeline';
import { HttpStore } from '@edge-dit/runtime/stores/http';
import { instantiateKernels, supportedVariants } from '@edge-dit/wasm-kernels';
import { compileKernels } from '@edge-dit/wasm-kernels/assemble';
import { Control } from '@edge-dit/wasm-kernels/threads/control';
import { spawnWebThread } from '@edge-dit/wasm-kernels/threads/web';

export interface WebThreadsReport {
  readonly isolated: boolean;
  readonly one: readonly number[];
  /** The picture, or what refused it. */
  readonly two: readonly number[] | { readonly code: string; readonly message: string };
  /** Whether a worker computes alone what this thread computes; absent where there are no threads. */
  readonly worker?: boolean;
}

async function draw(openEngine?: OpenEngine): Promise<number[]> {
  const kernels = await compileKernels({ shared: openEngine !== undefined });
  const pipeline = await Pipeline.open({ store: new HttpStore(location.origin), model: 'm', kernels, openEngine });
  const { rgb } = await pipeline.generate({ class: 1, seed: 5, steps: 2 });
  await pipeline.close();
  return Array.from(rgb);
}

async function drawOnTwo(): Promise<WebThreadsReport['two']> {
  try {
    return await draw(threadedEngine({ threads: 2, spawn: spawnWebThread }));
  } catch (error) {
    if (!isEdgeDitError(error, 'engine-unavailable')) throw error;
    return { code: error.code, message: error.message };
  }
}

const ROWS = 64;
const COLUMNS = 96;
/** Addresses of the input, and of the output of each thread. */
const [INPUT, HERE, THERE] = [1 << 20, 2 << 20, 3 << 20];
const WORKER_MS = 5000;

/** This thread publishes chunks and claims none: what is finished, the worker has done. */
async function workerAlone(): Promise<boolean> {
  const [variant] = supportedVariants();
  const compiled = await compileKernels({ shared: true });
  const modules = [compiled.float, compiled[variant]!];
  const memory = new WebAssembly.Memory({ initial: 64, maximum: 65_536, shared: true });
  const { gelu, form } = instantiateKernels(modules[0], modules[1], memory, variant);
  const at = (address: number) => new Float32Array(memory.buffer, address, ROWS * COLUMNS);
  at(INPUT).set(Float32Array.from({ length: ROWS * COLUMNS }, (_, i) => i / 512 - 6.01));
  gelu(ROWS, COLUMNS, INPUT, HERE);
  const control = new Control();
  const thread = spawnWebThread({ modules, memory, control: control.shared, kernels: ['gelu'], form, scratch: 0 });
  await thread.ready;
  const half = 2 * ROWS * COLUMNS;
  const chunks = [0, half].map((offset) => [ROWS / 2, COLUMNS, INPUT + offset, THERE + offset]);
  control.publish(0, -1, chunks);
  const finished = control.finished(WORKER_MS, false);
  thread.terminate();
  return finished && at(HERE)[0] !== 0 && at(HERE).every((value, i) => value === at(THERE)[i]);
}

async function look(): Promise<WebThreadsReport> {
  const report = { isolated: crossOriginIsolated, one: await draw(), two: await drawOnTwo() };
  return crossOriginIsolated ? { ...report, worker: await workerAlone() } : report;
}

const report: WebThreadsReport | { error: string } = await look().catch((error) => ({ error: String(error) }));
await fetch('/report', { method: 'POST', body: JSON.stringify(report) });
if (!crossOriginIsolated) location.assign('/isolated');
