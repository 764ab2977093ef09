/** Jobs on Workers, as routes see them: a Durable Object each, found by the job's id. */
import type { JobDraft } from './job.ts';
import type { Jobs, JobView } from './jobs.ts';

/** The methods of the object, called from another isolate. Its id is not told to it. */
export interface JobObjectStub {
  submit(draft: JobDraft): ReturnType<Jobs['submit']>;
  read(id: string): Promise<JobView | undefined>;
  picture(id: string, index: number): Promise<Uint8Array | undefined>;
  cancel(id: string): Promise<JobView | undefined>;
}

/** The binding. */
export interface JobNamespace {
  idFromName(name: string): unknown;
  get(id: unknown): JobObjectStub;
}

export class DurableJobs implements Jobs {
  readonly #namespace: JobNamespace;

  constructor(namespace: JobNamespace) {
    this.#namespace = namespace;
  }

  submit(draft: JobDraft): ReturnType<Jobs['submit']> {
    return this.#stub(draft.id).submit(draft);
  }

  read(id: string): Promise<JobView | undefined> {
    return this.#stub(id).read(id);
  }

  picture(id: string, index: number): Promise<Uint8Array | undefined> {
    return this.#stub(id).picture(id, index);
  }

  cancel(id: string): Promise<JobView | undefined> {
    return this.#stub(id).cancel(id);
  }

  #stub(id: string): JobObjectStub {
    return this.#namespace.get(this.#namespace.idFromName(id));
  }
}
