/** Jobs in memory: they end with the process. For endpoints that were given no place, and for tests. */
import type { JobRecord } from './job.ts';
import { blobNames, type JobStore } from './job-store.ts';

interface Entry {
  job: JobRecord;
  readonly blobs: Map<string, Uint8Array>;
}

export class MemoryJobStore implements JobStore {
  readonly #entries = new Map<string, Entry>();

  async create(job: JobRecord): Promise<boolean> {
    if (this.#entries.has(job.id)) return false;
    this.#entries.set(job.id, { job, blobs: new Map() });
    return true;
  }

  async read(id: string): Promise<JobRecord | undefined> {
    return this.#entries.get(id)?.job;
  }

  async commit(job: JobRecord, added: ReadonlyMap<string, Uint8Array> = new Map()): Promise<void> {
    const blobs = new Map([...(this.#entries.get(job.id)?.blobs ?? []), ...added]);
    const named = blobNames(job);
    for (const name of blobs.keys()) if (!named.has(name)) blobs.delete(name);
    this.#entries.set(job.id, { job, blobs });
  }

  async blob(id: string, name: string): Promise<Uint8Array | undefined> {
    return this.#entries.get(id)?.blobs.get(name);
  }

  async remove(id: string): Promise<void> {
    this.#entries.delete(id);
  }

  async ids(): Promise<readonly string[]> {
    return [...this.#entries.keys()];
  }
}
