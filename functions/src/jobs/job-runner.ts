/** Jobs in a process of Node, Deno or the like: timers call the engine, and what was left by the process before is taken up. */
import { Problem } from '../problem.ts';
import { hasEnded, type JobDraft } from './job.ts';
import { JobEngine, type JobEngineOptions } from './job-engine.ts';
import type { Jobs, JobView } from './jobs.ts';

/** Timers take 31 bits. */
const LONGEST_MS = 2 ** 31 - 1;

export class JobRunner implements Jobs {
  readonly #engine: JobEngine;
  readonly #options: JobEngineOptions;
  readonly #timers = new Map<string, ReturnType<typeof setTimeout>>();
  readonly #slices = new Set<Promise<void>>();
  /** Of each owner, the jobs that have not ended. */
  readonly #open = new Map<string, Set<string>>();
  #stopped = false;

  private constructor(options: JobEngineOptions) {
    this.#options = options;
    this.#engine = new JobEngine(options);
  }

  /** Goes on with the jobs of the store. */
  static async start(options: JobEngineOptions): Promise<JobRunner> {
    const runner = new JobRunner(options);
    for (const id of await options.store.ids()) {
      const job = await options.store.read(id);
      // A process died between making the place of a job and its record.
      if (job === undefined) await options.store.remove(id);
      else {
        if (!hasEnded(job)) runner.#openOf(job.owner).add(id);
        runner.#schedule(id, job.owner, 0);
      }
    }
    return runner;
  }

  async submit(draft: JobDraft): Promise<JobView & { created: boolean }> {
    const { id, owner } = draft;
    const open = this.#openOf(owner);
    const most = this.#options.endpoint.limits.jobsPerKey;
    const known = (await this.read(id)) !== undefined;
    if (!known && !open.has(id) && open.size >= most) {
      throw new Problem('too-many-requests', `${most} jobs of yours have not ended; wait for some, or cancel them.`, {
        headers: { 'retry-after': '10' },
      });
    }
    // Before it is stored: others that come meanwhile count it.
    open.add(id);
    let result: (JobView & { created: boolean }) | undefined;
    try {
      result = await this.#engine.submit(draft);
    } finally {
      if (result === undefined || hasEnded(result.job)) open.delete(id);
    }
    if (result.created) this.#schedule(id, owner, 0);
    return result;
  }

  read(id: string): Promise<JobView | undefined> {
    return this.#engine.read(id);
  }

  picture(id: string, index: number): Promise<Uint8Array | undefined> {
    return this.#engine.picture(id, index);
  }

  async cancel(id: string): Promise<JobView | undefined> {
    const view = await this.#engine.cancel(id);
    // For its webhook, and its end; where it runs, its slice does that.
    if (view !== undefined && this.#timers.has(id)) this.#schedule(id, view.job.owner, 0);
    return view;
  }

  /** Stops within a step; what was stored is taken up by the next process. */
  async stop(): Promise<void> {
    this.#stopped = true;
    for (const timer of this.#timers.values()) clearTimeout(timer);
    this.#timers.clear();
    this.#engine.stop();
    await Promise.all(this.#slices);
  }

  #openOf(owner: string): Set<string> {
    const open = this.#open.get(owner) ?? new Set();
    this.#open.set(owner, open);
    return open;
  }

  #schedule(id: string, owner: string, ms: number): void {
    clearTimeout(this.#timers.get(id));
    const timer = setTimeout(
      () => {
        this.#timers.delete(id);
        const slice = this.#slice(id, owner).finally(() => this.#slices.delete(slice));
        this.#slices.add(slice);
      },
      Math.min(ms, LONGEST_MS),
    );
    // Nor does a job that waits to be forgotten keep a process alive.
    if (ms > 0) (timer as { unref?(): void }).unref?.();
    this.#timers.set(id, timer);
  }

  async #slice(id: string, owner: string): Promise<void> {
    let next: number | undefined;
    try {
      next = await this.#engine.slice(id);
      const job = await this.#options.store.read(id);
      if (job === undefined || hasEnded(job)) this.#openOf(owner).delete(id);
    } catch (error) {
      // Of the store of jobs itself.
      this.#options.endpoint.log({
        level: 'error',
        event: 'job-store-failed',
        job: id,
        error: (error as Error).message,
      });
      next = 5000;
    }
    if (next !== undefined && !this.#stopped) this.#schedule(id, owner, next);
  }
}
