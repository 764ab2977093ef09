/**
 * Where jobs are kept. A job is a record, and blobs that the record names. One writer at a time: whoever runs the jobs.
 */
import type { JobRecord } from './job.ts';

export interface JobStore {
  /** False, and nothing is changed, where there is a job of that id. */
  create(job: JobRecord): Promise<boolean>;
  read(id: string): Promise<JobRecord | undefined>;
  /**
   * Stores new blobs and the record that names them. A process that dies meanwhile leaves the job as it was before or as it
   * is after, nothing between. Blobs that the record names no longer are forgotten.
   */
  commit(job: JobRecord, blobs?: ReadonlyMap<string, Uint8Array>): Promise<void>;
  blob(id: string, name: string): Promise<Uint8Array | undefined>;
  remove(id: string): Promise<void>;
  ids(): Promise<readonly string[]>;
}

/** The blobs that a record names. */
export function blobNames({ pictures, checkpoint }: JobRecord): Set<string> {
  return new Set([...pictures.map(({ blob }) => blob), ...(checkpoint === undefined ? [] : [checkpoint])]);
}
