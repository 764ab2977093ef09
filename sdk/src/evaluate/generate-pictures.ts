/** Many pictures of published models on all cores: one engine a thread, jobs in order, results in order. */
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import type { Picture } from '@edge-dit/runtime/picture';
import type { PictureJob } from './picture-worker.ts';

export interface EvaluatedPicture extends Picture {
  /** [channels, height, width], not cut off. */
  readonly values: Float32Array;
}

export interface GeneratePicturesOptions {
  /** Where the models are published, as `openStore` takes it. */
  readonly store: string;
  readonly jobs: readonly PictureJob[];
  readonly threads?: number;
  readonly onPicture?: (done: number, total: number) => void;
}

/** For an engine, its model and, in a thread that has one, the text encoder. */
const MEMORY_BYTES = 2 ** 30;

export async function generatePictures({
  store,
  jobs,
  threads,
  onPicture,
}: GeneratePicturesOptions): Promise<EvaluatedPicture[]> {
  const out = new Array<EvaluatedPicture>(jobs.length);
  let next = 0;
  let done = 0;
  const run = async () => {
    const worker = new Worker(new URL('picture-worker.js', import.meta.url), {
      workerData: { store, memoryBytes: MEMORY_BYTES },
    });
    try {
      while (next < jobs.length) {
        const index = next++;
        out[index] = await ask(worker, jobs[index]);
        onPicture?.(++done, jobs.length);
      }
    } finally {
      await worker.terminate();
    }
  };
  await Promise.all(Array.from({ length: Math.min(threads ?? availableParallelism(), jobs.length) }, run));
  return out;
}

function ask(worker: Worker, job: PictureJob): Promise<EvaluatedPicture> {
  return new Promise((resolve, reject) => {
    worker.once('message', (answer: EvaluatedPicture | { error: unknown }) => {
      worker.off('error', reject);
      if ('error' in answer) reject(answer.error);
      else resolve(answer);
    });
    worker.once('error', reject);
    worker.postMessage(job);
  });
}
