/**
 * Jobs in memory: they end with the process, and the oldest of those that have ended are forgotten before their time when all
 * together are too large. For endpoints that were given no place, and for tests.
 */
import { hasEnded, type JobRecord } from './job.ts';
import { blobNames, type JobStore } from './job-store.ts';

interface Entry {
  readonly job: JobRecord;
  readonly blobs: ReadonlyMap<string, Uint8Array>;
  readonly bytes: number;
}

/** Some thousand pictures of the emoji model. */
const MOST_BYTES = 64 * 2 ** 20;
/** Of a record without its texts. */
const RECORD_BYTES = 2048;

export class MemoryJobStore implements JobStore {
  readonly #mostBytes: number;
  /** In the order in which they were created. */
  readonly #entries = new Map<string, Entry>();
  #bytes = 0;

  /** @param mostBytes of jobs that have ended; those that have not are kept, however large */
  constructor(mostBytes = MOST_BYTES) {
    this.#mostBytes = mostBytes;
  }

  async create(job: JobRecord): Promise<boolean> {
    if (this.#entries.has(job.id)) return false;
    this.#set(job, new Map());
    return true;
  }

  async read(id: string): Promise<JobRecord | undefined> {
    return this.#entries.get(id)?.job;
  }

  async commit(job: JobRecord, added: ReadonlyMap<string, Uint8Array> = new Map()): Promise<void> {
    const blobs = new Map([...(this.#entries.get(job.id)?.blobs ?? []), ...added]);
    const named = blobNames(job);
    for (const name of blobs.keys()) if (!named.has(name)) blobs.delete(name);
    this.#set(job, blobs);
    for (const { job: old } of this.#entries.values()) {
      if (this.#bytes <= this.#mostBytes) break;
      // Who has just ended is told so, however large it is.
      if (hasEnded(old) && old.webhook?.state !== 'due' && old.id !== job.id) await this.remove(old.id);
    }
  }

  async blob(id: string, name: string): Promise<Uint8Array | undefined> {
    return this.#entries.get(id)?.blobs.get(name);
  }

  async remove(id: string): Promise<void> {
    this.#bytes -= this.#entries.get(id)?.bytes ?? 0;
    this.#entries.delete(id);
  }

  async ids(): Promise<readonly string[]> {
    return [...this.#entries.keys()];
  }

  #set(job: JobRecord, blobs: ReadonlyMap<string, Uint8Array>): void {
    const texts = (job.request.prompt?.length ?? 0) + (job.request.negativePrompt?.length ?? 0);
    const bytes = [...blobs.values()].reduce((sum, blob) => sum + blob.byteLength, RECORD_BYTES + 2 * texts);
    this.#bytes += bytes - (this.#entries.get(job.id)?.bytes ?? 0);
    this.#entries.set(job.id, { job, blobs, bytes });
  }
}
