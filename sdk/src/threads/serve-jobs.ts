/**
 * The worker's side of `shareJobs`: one job at a time, each answered with what it gave or with its error, after as many
 * ticks as it likes.
 */
import { parentPort } from 'node:worker_threads';
import { isEdgeDitError } from '@edge-dit/runtime/errors';
import type { JobAnswer } from './share-jobs.ts';

export function serveJobs<Job, Result>(run: (job: Job, tick: () => void) => Promise<Result>): void {
  const tick = () => parentPort!.postMessage({ tick: true } satisfies JobAnswer<Result>);
  parentPort!.on('message', async (job: Job) => {
    parentPort!.postMessage(await answerOf(run(job, tick)));
  });
}

async function answerOf<Result>(running: Promise<Result>): Promise<JobAnswer<Result>> {
  try {
    return { result: await running };
  } catch (error) {
    // Cloning keeps neither the class of an error nor its code.
    return isEdgeDitError(error) ? { code: error.code, message: error.message } : { error };
  }
}
