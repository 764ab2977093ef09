/**
 * Jobs in a folder of this machine: `<id>/job.json`, and a file for each blob beside it. A record is written to a file of its
 * own and renamed over the one before, after its blobs are on disk. Files, because a database for Node below 24 is a
 * native module, which not every machine can install.
 */
import { mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { EdgeDitError } from '@edge-dit/runtime/errors';
import { lockFolder } from './folder-lock.ts';
import { JOB_ID, type JobRecord } from './job.ts';
import { blobNames, type JobStore } from './job-store.ts';

const RECORD = 'job.json';
const NEW = '.new';
const BLOB_NAME = /^[a-z][\w.-]{0,63}$/;

export class FileJobStore implements JobStore {
  readonly #folder: string;
  readonly #unlock: () => Promise<void>;

  private constructor(folder: string, unlock: () => Promise<void>) {
    this.#folder = folder;
    this.#unlock = unlock;
  }

  /** Makes the folder, and takes it for this process. @throws EdgeDitError `invalid-argument` when another one has it */
  static async open(folder: string): Promise<FileJobStore> {
    try {
      await mkdir(folder, { recursive: true });
    } catch (cause) {
      const message = `cannot keep jobs in ${folder}: ${(cause as Error).message}; choose another folder.`;
      throw new EdgeDitError('invalid-argument', message, { cause });
    }
    return new FileJobStore(folder, await lockFolder(folder));
  }

  close(): Promise<void> {
    return this.#unlock();
  }

  async create(job: JobRecord): Promise<boolean> {
    if ((await this.read(job.id)) !== undefined) return false;
    await mkdir(this.#path(job.id), { recursive: true });
    await this.commit(job);
    return true;
  }

  async read(id: string): Promise<JobRecord | undefined> {
    const bytes = await contentsOf(join(this.#path(id), RECORD));
    return bytes && (JSON.parse(bytes.toString('utf8')) as JobRecord);
  }

  async commit(job: JobRecord, blobs: ReadonlyMap<string, Uint8Array> = new Map()): Promise<void> {
    const folder = this.#path(job.id);
    for (const [name, bytes] of blobs) await this.#write(join(folder, checked(name)), bytes);
    await this.#write(join(folder, RECORD), new TextEncoder().encode(JSON.stringify(job)));
    const named = blobNames(job);
    for (const name of await readdir(folder)) {
      if (name !== RECORD && !named.has(name)) await rm(join(folder, name), { force: true });
    }
  }

  async blob(id: string, name: string): Promise<Uint8Array | undefined> {
    const bytes = await contentsOf(join(this.#path(id), checked(name)));
    return bytes && new Uint8Array(bytes);
  }

  async remove(id: string): Promise<void> {
    // The record first: a folder without one is no job.
    await rm(join(this.#path(id), RECORD), { force: true });
    await rm(this.#path(id), { recursive: true, force: true });
  }

  async ids(): Promise<readonly string[]> {
    const names = await readdir(this.#folder);
    return names.filter((name) => JOB_ID.test(name)).sort();
  }

  #path(id: string): string {
    if (!JOB_ID.test(id)) throw new EdgeDitError('invalid-argument', 'this is not the id of a job.');
    return join(this.#folder, id);
  }

  /** On disk when it returns; whoever reads sees all of it or what was there before. */
  async #write(path: string, bytes: Uint8Array): Promise<void> {
    const file = await open(path + NEW, 'w');
    try {
      await file.writeFile(bytes);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(path + NEW, path);
  }
}

function checked(name: string): string {
  if (BLOB_NAME.test(name) && !name.endsWith(NEW)) return name;
  throw new EdgeDitError('internal', `"${name}" is no name of a blob.`);
}

async function contentsOf(path: string): Promise<Buffer | undefined> {
  try {
    return await readFile(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
