/**
 * The job of a Durable Object in its SQLite storage: one record, and blobs in parts, because a value has 2 MB at most. A commit is
 * one transaction. There are tables only where there is a job: an object that is asked for an id that nobody made, or whose job
 * is forgotten, takes no place.
 */
import type { JobRecord } from './job.ts';
import { blobNames, type JobStore } from './job-store.ts';

/** What is used of the storage of a Durable Object. */
export interface DurableStorage {
  readonly sql: { exec(query: string, ...values: unknown[]): { toArray(): Record<string, unknown>[] } };
  transactionSync<T>(change: () => T): T;
  deleteAll(): Promise<void>;
  getAlarm(): Promise<number | null>;
  setAlarm(time: number): Promise<void>;
}

const PART_BYTES = 2 ** 20;

export class DurableJobStore implements JobStore {
  readonly #storage: DurableStorage;
  /** Whether there are tables. */
  #made: boolean;

  constructor(storage: DurableStorage) {
    this.#storage = storage;
    this.#made = storage.sql.exec("SELECT 1 FROM sqlite_master WHERE name = 'job'").toArray().length > 0;
  }

  async create(job: JobRecord): Promise<boolean> {
    this.#makeTables();
    return this.#storage.transactionSync(() => {
      if (this.#rows('SELECT id FROM job WHERE id = ?', job.id).length > 0) return false;
      this.#rows('INSERT INTO job (id, record) VALUES (?, ?)', job.id, JSON.stringify(job));
      return true;
    });
  }

  async read(id: string): Promise<JobRecord | undefined> {
    const [row] = this.#rows('SELECT record FROM job WHERE id = ?', id);
    return row && (JSON.parse(row.record as string) as JobRecord);
  }

  async commit(job: JobRecord, blobs: ReadonlyMap<string, Uint8Array> = new Map()): Promise<void> {
    this.#makeTables();
    this.#storage.transactionSync(() => {
      for (const [name, bytes] of blobs) {
        this.#rows('DELETE FROM blob WHERE id = ? AND name = ?', job.id, name);
        for (let part = 0; part * PART_BYTES < bytes.length; part++) {
          const piece = bytes.slice(part * PART_BYTES, (part + 1) * PART_BYTES);
          this.#rows('INSERT INTO blob VALUES (?, ?, ?, ?)', job.id, name, part, piece.buffer);
        }
      }
      this.#rows('INSERT OR REPLACE INTO job (id, record) VALUES (?, ?)', job.id, JSON.stringify(job));
      const named = blobNames(job);
      for (const { name } of this.#rows('SELECT DISTINCT name FROM blob WHERE id = ?', job.id)) {
        if (!named.has(name as string)) this.#rows('DELETE FROM blob WHERE id = ? AND name = ?', job.id, name);
      }
    });
  }

  async blob(id: string, name: string): Promise<Uint8Array | undefined> {
    const parts = this.#rows('SELECT bytes FROM blob WHERE id = ? AND name = ? ORDER BY part', id, name);
    if (parts.length === 0) return undefined;
    return new Uint8Array(await new Blob(parts.map(({ bytes }) => bytes as ArrayBuffer)).arrayBuffer());
  }

  /** All that the object has: it is of this job alone. */
  async remove(id: string): Promise<void> {
    if ((await this.read(id)) === undefined) return;
    this.#made = false;
    await this.#storage.deleteAll();
  }

  async ids(): Promise<readonly string[]> {
    return this.#rows('SELECT id FROM job').map(({ id }) => id as string);
  }

  #makeTables(): void {
    if (this.#made) return;
    this.#storage.transactionSync(() => {
      this.#storage.sql.exec('CREATE TABLE job (id TEXT PRIMARY KEY, record TEXT NOT NULL)');
      this.#storage.sql.exec(
        'CREATE TABLE blob (id TEXT, name TEXT, part INTEGER, bytes BLOB NOT NULL, PRIMARY KEY (id, name, part))',
      );
    });
    this.#made = true;
  }

  #rows(query: string, ...values: unknown[]): Record<string, unknown>[] {
    if (!this.#made) return [];
    return this.#storage.sql.exec(query, ...values).toArray();
  }
}
