/**
 * Jobs shared among worker threads: each worker runs a module that calls `serveJobs`, and gets the next job when it has
 * answered. Results come one by one, in the order in which they are done, so none need be held.
 */
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { EdgeDitError, type ErrorCode } from '@edge-dit/runtime/errors';

export type JobAnswer<Result> =
  | { readonly tick: true }
  | { readonly result: Result }
  | { readonly code: ErrorCode; readonly message: string }
  | { readonly error: unknown };

export interface ShareJobsOptions<Job, Result> {
  /** What each worker runs; the compiled file. */
  readonly module: URL;
  /** `workerData` of all workers. */
  readonly data: unknown;
  readonly jobs: readonly Job[];
  /** Default: one for each core. */
  readonly threads?: number;
  readonly signal?: AbortSignal;
  /** What a worker gets for a job, made just before it does. Default: the job itself. */
  readonly prepare?: (job: Job) => Promise<unknown>;
  /** A worker's job came a step further. */
  readonly onTick?: () => void;
  /** That worker's next job starts when this has ended. */
  readonly onResult: (result: Result, index: number) => void | Promise<void>;
}

/**
 * Runs all jobs. The first failure, of a job, a worker or `onResult`, ends all workers and is raised.
 * @throws `aborted` when the signal says so, and what the jobs raise
 */
export async function shareJobs<Job, Result>(options: ShareJobsOptions<Job, Result>): Promise<void> {
  const { module, data, jobs, threads = availableParallelism(), signal, prepare, onTick, onResult } = options;
  const workers: Worker[] = [];
  let next = 0;
  const run = async () => {
    const worker = new Worker(module, { workerData: data });
    workers.push(worker);
    while (next < jobs.length) {
      const index = next++;
      const message = prepare ? await prepare(jobs[index]) : jobs[index];
      await onResult(await ask<Result>(worker, message, onTick), index);
    }
  };
  const stop = aborted(signal);
  try {
    await Promise.race([stop.happened, Promise.all(Array.from({ length: Math.min(threads, jobs.length) }, run))]);
  } finally {
    stop.forget();
    next = jobs.length;
    await Promise.all(workers.map((worker) => worker.terminate()));
  }
}

function ask<Result>(worker: Worker, job: unknown, onTick?: () => void): Promise<Result> {
  return new Promise((resolve, reject) => {
    const ended = (code: number) => reject(new EdgeDitError('internal', `a worker thread exited with ${code}.`));
    const settle = (finish: () => void) => {
      worker.off('message', answered).off('error', failed).off('exit', ended);
      finish();
    };
    const failed = (error: unknown) => settle(() => reject(error));
    const answered = (answer: JobAnswer<Result>) => {
      if ('tick' in answer) return onTick?.();
      settle(() => {
        if ('result' in answer) resolve(answer.result);
        else reject('code' in answer ? new EdgeDitError(answer.code, answer.message) : answer.error);
      });
    };
    worker.on('message', answered).once('error', failed).once('exit', ended);
    worker.postMessage(job);
  });
}

function aborted(signal: AbortSignal | undefined): { happened: Promise<never>; forget(): void } {
  let forget = () => {};
  const happened = new Promise<never>((_, reject) => {
    const abort = () => reject(new EdgeDitError('aborted', 'the work was cancelled.', { cause: signal?.reason }));
    if (signal?.aborted) abort();
    signal?.addEventListener('abort', abort);
    forget = () => signal?.removeEventListener('abort', abort);
  });
  return { happened, forget };
}
