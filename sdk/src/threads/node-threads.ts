/** Threads in Node, for `threadedEngine` of the runtime. They do not keep a process alive. */
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import type { SpawnThread } from '@edge-dit/wasm-kernels/threads/threaded-kernels';

export const spawnNodeThread: SpawnThread = (start) => {
  const worker = new Worker(new URL('./node-thread.js', import.meta.url), { name: 'edge-dit', workerData: start });
  const ended = new Promise<string>((resolve) => {
    worker.once('error', (error) => resolve(String(error)));
    worker.once('exit', (code) => resolve(`it exited with ${code}`));
  });
  const ready = new Promise<void>((resolve, reject) => {
    worker.once('message', () => {
      // Only now: a process that waits for its threads has nothing else to wait for.
      worker.unref();
      resolve();
    });
    void ended.then((reason) => reject(new Error(reason)));
  });
  return { ready, ended, terminate: () => void worker.terminate() };
};

/** Beyond four, what is not divided weighs more than what a further thread takes over. */
const USUAL_LIMIT = 4;

/** Threads to use when nobody says: one for each core, up to four. */
export const usualThreads = (): number => Math.min(USUAL_LIMIT, availableParallelism());
