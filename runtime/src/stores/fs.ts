/**
 * A folder as a store. An object is a file; it is written beside and then renamed or linked, so that a reader never
 * sees half of it. Conditional writes hold a lock. Both lie under `.edge-dit/`, which no key can name.
 */
import { randomUUID } from 'node:crypto';
import { constants } from 'node:fs';
import { link, lstat, mkdir, open, readdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { checkKey } from '../format/keys.ts';
import { DRAFT, withFileLock } from './fs-lock.ts';
import type { GetOptions, ListedObject, ObjectInfo, PutOptions, StoredObject, WritableStore } from './store.ts';
import { preconditionFailed, storeDenied, storeFailed, throwIfAborted } from './store-error.ts';

const CHUNK_BYTES = 256 * 1024;
const PRIVATE = '.edge-dit';

const codeOf = (error: unknown) => (error as NodeJS.ErrnoException)?.code;
const isAbsent = (error: unknown) => codeOf(error) === 'ENOENT' || codeOf(error) === 'ENOTDIR';

interface FileFacts {
  readonly ino: bigint;
  readonly mtimeNs: bigint;
  readonly size: bigint;
}

/** Every write makes a new file, so file number, time and size together change with each. */
const etagOf = ({ ino, mtimeNs, size }: FileFacts) =>
  `${ino.toString(16)}-${mtimeNs.toString(16)}-${size.toString(16)}`;

export class FsStore implements WritableStore {
  readonly name: string;
  readonly #root: string;

  constructor(root: string) {
    this.#root = resolve(root);
    this.name = `file:${this.#root}`;
  }

  async get(key: string, { signal, range }: GetOptions = {}): Promise<StoredObject | undefined> {
    const path = this.#path(key);
    return this.#guard('get', key, signal, async () => {
      const file = await openIfThere(path);
      if (file === undefined) return undefined;
      const facts = await file.stat({ bigint: true });
      if (!facts.isFile()) {
        await file.close();
        return undefined;
      }
      const total = Number(facts.size);
      const start = Math.min(range?.offset ?? 0, total);
      const end = range?.length === undefined ? total : Math.min(total, start + range.length);
      let at = start;
      const pull = async (controller: ReadableStreamDefaultController<Uint8Array>) => {
        try {
          throwIfAborted(signal, `${this.name}: get ${key}`);
          const chunk = new Uint8Array(Math.min(CHUNK_BYTES, end - at));
          const { bytesRead } = chunk.length === 0 ? { bytesRead: 0 } : await file.read(chunk, 0, chunk.length, at);
          at += bytesRead;
          if (bytesRead > 0) controller.enqueue(chunk.subarray(0, bytesRead));
          if (bytesRead === 0 || at === end) {
            controller.close();
            await file.close();
          }
        } catch (cause) {
          await file.close();
          throw storeFailed(this.name, 'get', key, cause, signal);
        }
      };
      // Nothing is read ahead: a body that nobody reads holds no bytes.
      const body = new ReadableStream<Uint8Array>({ pull, cancel: () => file.close() }, { highWaterMark: 0 });
      return { size: end - start, etag: etagOf(facts), body };
    });
  }

  async head(key: string, { signal }: { signal?: AbortSignal } = {}): Promise<ObjectInfo | undefined> {
    const path = this.#path(key);
    return this.#guard('head', key, signal, () => infoOf(path));
  }

  async put(key: string, bytes: Uint8Array, options: PutOptions = {}): Promise<{ etag: string }> {
    const path = this.#path(key);
    return this.#guard('put', key, options.signal, async () => {
      await mkdir(dirname(path), { recursive: true });
      const draft = join(await this.#private('drafts'), `${randomUUID()}${DRAFT}`);
      try {
        await writeFile(draft, bytes, { flag: 'wx', signal: options.signal });
        const etag = etagOf(await lstat(draft, { bigint: true }));
        if (options.ifNoneMatch === '*') {
          await link(draft, path).catch((cause) => {
            throw codeOf(cause) === 'EEXIST' ? preconditionFailed(this.name, key, {}) : cause;
          });
        } else {
          await this.#locked(key, async () => {
            if (options.ifMatch !== undefined && (await infoOf(path))?.etag !== options.ifMatch) {
              throw preconditionFailed(this.name, key, options);
            }
            await rename(draft, path);
          });
        }
        return { etag };
      } finally {
        await rm(draft, { force: true });
      }
    });
  }

  async *list(prefix: string): AsyncIterable<ListedObject> {
    // A prefix may end within a name: walk the folder above it.
    const folder = prefix.slice(0, prefix.lastIndexOf('/') + 1);
    if (folder !== '') checkKey(folder.slice(0, -1));
    for await (const key of this.#walk(folder)) {
      if (!key.startsWith(prefix)) continue;
      const facts = await this.#guard('list', key, undefined, () => statIfThere(join(this.#root, key)));
      if (facts === undefined) continue;
      yield { key, size: Number(facts.size), etag: etagOf(facts), modified: facts.mtime };
    }
  }

  async delete(key: string, { signal }: { signal?: AbortSignal } = {}): Promise<void> {
    const path = this.#path(key);
    await this.#guard('delete', key, signal, () => this.#locked(key, () => rm(path, { force: true })));
  }

  async sweep(time: Date): Promise<number> {
    let bytes = 0;
    await this.#guard('delete', PRIVATE, undefined, async () => {
      for (const folder of [await this.#private('drafts'), await this.#private('locks')]) {
        for (const name of await readdir(folder)) {
          const facts = name.endsWith(DRAFT) ? await statIfThere(join(folder, name)) : undefined;
          if (facts === undefined || facts.mtime >= time) continue;
          bytes += Number(facts.size);
          await rm(join(folder, name), { force: true });
        }
      }
    });
    return bytes;
  }

  #path(key: string): string {
    checkKey(key);
    return join(this.#root, key);
  }

  async #private(folder: string): Promise<string> {
    const path = join(this.#root, PRIVATE, folder);
    await mkdir(path, { recursive: true });
    return path;
  }

  async *#walk(folder: string): AsyncGenerator<string, void, undefined> {
    const entries = await this.#guard('list', folder, undefined, () =>
      readdir(join(this.#root, folder), { withFileTypes: true }).catch((cause) => {
        if (isAbsent(cause)) return [];
        throw cause;
      }),
    );
    for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
      if (entry.name.startsWith('.')) continue;
      if (entry.isDirectory()) yield* this.#walk(`${folder}${entry.name}/`);
      else if (entry.isFile()) yield `${folder}${entry.name}`;
    }
  }

  async #locked(key: string, work: () => Promise<void>): Promise<void> {
    await withFileLock(join(await this.#private('locks'), key.replaceAll('/', '~')), `${this.name}: ${key}`, work);
  }

  async #guard<T>(
    operation: Parameters<typeof storeFailed>[1],
    key: string,
    signal: AbortSignal | undefined,
    work: () => Promise<T>,
  ): Promise<T> {
    throwIfAborted(signal, `${this.name}: ${operation} ${key}`);
    try {
      return await work();
    } catch (cause) {
      if (codeOf(cause) === 'EACCES' || codeOf(cause) === 'EPERM' || codeOf(cause) === 'EROFS') {
        throw storeDenied(this.name, operation, key, cause);
      }
      throw storeFailed(this.name, operation, key, cause, signal);
    }
  }
}

async function openIfThere(path: string) {
  try {
    return await open(path, constants.O_RDONLY);
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw error;
  }
}

async function statIfThere(path: string) {
  try {
    const facts = await stat(path, { bigint: true });
    return facts.isFile() ? facts : undefined;
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw error;
  }
}

async function infoOf(path: string): Promise<ObjectInfo | undefined> {
  const facts = await statIfThere(path);
  return facts && { size: Number(facts.size), etag: etagOf(facts) };
}
