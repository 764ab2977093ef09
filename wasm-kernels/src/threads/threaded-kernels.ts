/**
 * Kernels that share the work of each call among threads, with the interface of kernels that do not. In: kernels over a
 * shared memory, and how this host starts a worker. Out: the same bits as one thread gives.
 *
 * A calling thread that may not sleep (the main thread of a browser) spins instead: an engine with threads belongs into a
 * worker there.
 */
import type { Kernels } from '../load.ts';
import { Control } from './control.ts';
import type { ThreadStart } from './serve-thread.ts';
import { type KernelName, SPLITS, type Split, split } from './split.ts';

/** A worker that runs `serveThread`. */
export interface Thread {
  /** Settles when its kernels are there; fails when it cannot be started. */
  readonly ready: Promise<void>;
  /** Settles when it has ended, with the reason. */
  readonly ended: Promise<string>;
  terminate(): void;
}

/** Given by the host: starts a worker and hands `start` to `serveThread` in it. */
export type SpawnThread = (start: ThreadStart) => Thread;

export interface ThreadsOptions {
  /** The modules from which `kernels` were made, compiled for a shared memory. */
  readonly modules: readonly WebAssembly.Module[];
  readonly memory: WebAssembly.Memory;
  /** Addresses of `THREAD_SCRATCH_BYTES` bytes, one for each worker beside the calling thread. */
  readonly scratch: readonly number[];
  readonly spawn: SpawnThread;
  /** Makes the error that is thrown when a thread is lost. */
  readonly failure: (message: string) => Error;
  /** Nanoseconds of work below which a chunk is not worth handing over. */
  readonly leastCost?: number;
}

export interface ThreadedKernels {
  readonly kernels: Kernels;
  /** Ends the workers. */
  close(): void;
}

/** Enough for a linear of 4900 inputs on 192 rows; wider ones run on one thread where they need scratch. */
export const THREAD_SCRATCH_BYTES = 2 ** 21;
/** Handing a chunk to a thread that is awake takes about 1 microsecond. */
const LEAST_COST = 4000;
/** A chunk takes some milliseconds at most. */
const PATIENCE_MS = 20_000;

type Kernel = (...args: number[]) => void;

/** @throws what `failure` makes, here and in calls: when a worker cannot be started, fails, or has ended */
export async function openThreads(kernels: Kernels, options: ThreadsOptions): Promise<ThreadedKernels> {
  const { modules, memory, scratch, spawn, failure, leastCost = LEAST_COST } = options;
  const control = new Control();
  const names = (Object.keys(SPLITS) as KernelName[]).filter((name) => name in kernels);
  const start = { modules, memory, control: control.shared, kernels: names, form: kernels.form };
  let lost: string | undefined;
  let closed = false;
  const threads: Thread[] = [];
  const close = () => {
    closed = true;
    control.stop();
    for (const thread of threads) thread.terminate();
  };
  try {
    for (const at of scratch) {
      const thread = spawn({ ...start, scratch: at });
      threads.push(thread);
      void thread.ended.then((reason) => {
        lost ??= reason;
      });
    }
    await Promise.all(threads.map(({ ready }) => ready));
  } catch (cause) {
    close();
    throw failure(`a thread could not be started: ${cause instanceof Error ? cause.message : cause}`);
  }
  const splitting = { threads: 1 + threads.length, scratchBytes: THREAD_SCRATCH_BYTES, leastCost };
  const maySleep = canSleep();

  const shared = (name: KernelName, index: number, how: Split): Kernel => {
    const alone = kernels[name] as Kernel;
    return (...args) => {
      const chunks = split(how, args, splitting);
      if (chunks === undefined) return alone(...args);
      const problem = closed ? 'the engine was closed' : (lost ?? control.failure);
      if (problem !== undefined) throw failure(`a thread of the engine is gone: ${problem}.`);
      control.publish(index, how.scratch?.index ?? -1, chunks);
      for (let claim = control.claim(); claim !== undefined; claim = control.claim()) {
        try {
          alone(...chunks[claim.chunk]);
        } catch (error) {
          control.fail(`${name}: ${error}`);
        }
        control.finish();
      }
      if (!control.finished(PATIENCE_MS, maySleep)) lost = `it has not finished ${name} in ${PATIENCE_MS / 1000} s`;
      const trouble = control.failure ?? lost;
      if (trouble !== undefined) throw failure(`a thread of the engine failed: ${trouble}.`);
    };
  };
  const wrapped = Object.fromEntries(names.map((name, index) => [name, shared(name, index, SPLITS[name]!)]));
  return { kernels: { ...kernels, ...wrapped } as Kernels, close };
}

function canSleep(): boolean {
  try {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 0);
    return true;
  } catch {
    return false;
  }
}
