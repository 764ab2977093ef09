/**
 * A job as a Durable Object. Each alarm runs one slice, so each has the CPU time of an alarm for itself; the next alarm is set
 * when the slice is stored. An alarm that an eviction or a crash cuts short is fired again by the platform.
 */
import { DurableObject } from 'cloudflare:workers';
import { DurableJobStore } from './durable-job-store.ts';
import type { JobObjectStub } from './durable-jobs.ts';
import { hasEnded, type JobDraft } from './job.ts';
import { JobEngine, type JobEngineOptions } from './job-engine.ts';
import type { Jobs, JobView } from './jobs.ts';

export type JobObjectClass<Env> = new (context: unknown, env: Env) => JobObjectStub & { alarm(): Promise<void> };

/** @param optionsOf what jobs share in an isolate, made when the first of them wakes */
export function jobObjectClass<Env>(optionsOf: (env: Env) => Omit<JobEngineOptions, 'store'>): JobObjectClass<Env> {
  return class JobObject extends DurableObject<Env> implements JobObjectStub {
    readonly #store: DurableJobStore;
    readonly #engine: JobEngine;

    constructor(context: unknown, env: Env) {
      super(context, env);
      this.#store = new DurableJobStore(this.ctx.storage);
      this.#engine = new JobEngine({ ...optionsOf(env), store: this.#store });
    }

    async submit(draft: JobDraft): ReturnType<Jobs['submit']> {
      const result = await this.#engine.submit(draft);
      await this.#wake(result);
      return result;
    }

    async read(id: string): Promise<JobView | undefined> {
      const view = await this.#engine.read(id);
      if (view) await this.#wake(view);
      return view;
    }

    picture(id: string, index: number): Promise<Uint8Array | undefined> {
      return this.#engine.picture(id, index);
    }

    async cancel(id: string): Promise<JobView | undefined> {
      const view = await this.#engine.cancel(id);
      if (view) await this.ctx.storage.setAlarm(Date.now());
      return view;
    }

    async alarm(): Promise<void> {
      const [id] = await this.#store.ids();
      const next = id === undefined ? undefined : await this.#engine.slice(id);
      if (next !== undefined) await this.ctx.storage.setAlarm(Date.now() + next);
    }

    /** A job that has not ended has an alarm, or one is running now. */
    async #wake({ job }: JobView): Promise<void> {
      if (hasEnded(job) || this.#engine.isRunning(job.id)) return;
      if ((await this.ctx.storage.getAlarm()) === null) await this.ctx.storage.setAlarm(Date.now());
    }
  };
}
