/** Jobs as routes see them, wherever they are kept and run. */
import type { JobDraft, JobLive, JobRecord } from './job.ts';

export interface JobView {
  readonly job: JobRecord;
  readonly live?: JobLive;
}

export interface Jobs {
  /**
   * Stores a job, which then runs to its end whatever happens to this process. Where its id is known already, nothing is
   * stored and that job is the result. @throws Problem `too-many-requests` when its owner has too many and one process
   * knows of all
   */
  submit(draft: JobDraft): Promise<JobView & { readonly created: boolean }>;
  read(id: string): Promise<JobView | undefined>;
  /** A finished picture's PNG, by its number from 0. */
  picture(id: string, index: number): Promise<Uint8Array | undefined>;
  /** Ends a job that has not ended: its work stops within a step. The job as it is then. */
  cancel(id: string): Promise<JobView | undefined>;
}
