/** Jobs shared among worker threads whose results are wanted in the order of the jobs, with few of them held at a time. */
import { eitherSignal } from '@edge-dit/runtime/either-signal';
import { type ShareJobsOptions, shareJobs } from './share-jobs.ts';

export interface InOrderOptions<Job, Result> extends Omit<ShareJobsOptions<Job, Result>, 'onResult'> {
  /** Results that may wait to be taken, beside those that threads hold. */
  readonly ahead: number;
}

interface Deferred<T> {
  readonly promise: Promise<T>;
  readonly resolve: (value: T) => void;
}

/** Raises what `shareJobs` raises. Whoever takes no more results ends the workers with `return`, as `for await` does. */
export async function* inOrder<Job, Result>(
  options: InOrderOptions<Job, Result>,
): AsyncGenerator<Result, void, undefined> {
  const { jobs, ahead, signal } = options;
  const leave = new AbortController();
  const results = new Map(jobs.map((_, i) => [i, deferred<Result>()]));
  const taken = jobs.map(() => deferred<void>());
  const running = shareJobs<Job, Result>({
    ...options,
    signal: eitherSignal(signal, leave.signal),
    onResult: async (result, i) => {
      results.get(i)!.resolve(result);
      // Jobs begin in their order: what is waited for here never waits for this.
      if (i >= ahead) await taken[i - ahead].promise;
    },
  });
  try {
    for (const i of jobs.keys()) {
      const next = results.get(i)!.promise;
      await Promise.race([next, running]);
      const result = await next;
      results.delete(i);
      taken[i].resolve();
      yield result;
    }
  } finally {
    leave.abort();
    await running.catch(() => undefined);
  }
}

function deferred<T>(): Deferred<T> {
  let resolve: (value: T) => void = () => undefined;
  const promise = new Promise<T>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}
