/**
 * A browser's private file system (OPFS) as a cache for `cached`: models that were loaded once are there after a reload
 * and without a network. It exists in secure contexts only: https, and http://localhost.
 */
import { EdgeDitError } from '../errors.ts';
import type { CacheLike } from './cached.ts';

/** The part of `FileSystemDirectoryHandle` that is used. */
export interface DirectoryLike {
  getFileHandle(name: string, options?: { create?: boolean }): Promise<FileHandleLike>;
  removeEntry(name: string): Promise<void>;
  keys(): AsyncIterable<string>;
}

export interface FileHandleLike {
  getFile(): Promise<Blob>;
  createWritable?(): Promise<{
    write(bytes: Uint8Array): Promise<void>;
    close(): Promise<void>;
    abort?(): Promise<void>;
  }>;
  /** In workers; all that Safari had before version 26. */
  createSyncAccessHandle?(): Promise<{
    truncate(size: number): void;
    write(bytes: Uint8Array): number;
    flush(): void;
    close(): void;
  }>;
}

export interface OpfsCache extends CacheLike {
  /** Bytes of an entry, or undefined where there is none. */
  sizeOf(key: string): Promise<number | undefined>;
  /** Of every entry. */
  keys(): Promise<string[]>;
  /** Whether so many bytes more have room; true where it cannot be found out, which only workers can. */
  canHold(bytes: number): Promise<boolean>;
  /** Deletes every entry that is not one of these keys, such as the shards of models of yesterday. */
  retain(keys: Iterable<string>): Promise<void>;
}

/** @param folder of the origin's file system; folders in it after slashes. @throws EdgeDitError `store-failed` where there is no OPFS */
export async function openOpfsFolder(folder: string): Promise<DirectoryLike> {
  const { storage } = globalThis.navigator ?? {};
  if (storage?.getDirectory === undefined) {
    throw new EdgeDitError('store-failed', 'no private file system here; serve the page over https or localhost.');
  }
  let directory = await storage.getDirectory();
  for (const name of folder.split('/')) directory = await directory.getDirectoryHandle(name, { create: true });
  return directory as unknown as DirectoryLike;
}

/** @throws EdgeDitError `store-failed` where there is no OPFS */
export async function openOpfsCache(folder = 'edge-dit'): Promise<OpfsCache> {
  return opfsCache(await openOpfsFolder(folder));
}

/** An entry is a file. One that a page left half written is damage, which heals: whoever reads it verifies it. */
export function opfsCache(directory: DirectoryLike): OpfsCache {
  const remove = async (name: string) => {
    await directory.removeEntry(name).catch((cause: unknown) => {
      if (!isAbsent(cause)) throw cause;
    });
  };
  const fileOf = async (key: string): Promise<Blob | undefined> => {
    try {
      return await (await directory.getFileHandle(nameOf(key))).getFile();
    } catch (cause) {
      if (isAbsent(cause)) return undefined;
      throw cause;
    }
  };
  const names = async () => {
    const found: string[] = [];
    for await (const name of directory.keys()) found.push(name);
    return found;
  };
  return {
    match: async (key) => (await fileOf(key))?.stream() as ReadableStream<Uint8Array> | undefined,
    sizeOf: async (key) => (await fileOf(key))?.size,
    keys: async () => (await names()).map(keyOf),
    async put(key, bytes) {
      try {
        await write(await directory.getFileHandle(nameOf(key), { create: true }), bytes);
      } catch (cause) {
        // Beyond the quota: what was begun would take the place of what fits.
        await remove(nameOf(key));
        throw cause;
      }
    },
    delete: (key) => remove(nameOf(key)),
    async canHold(bytes) {
      const handle = await directory.getFileHandle(TRIAL, { create: true });
      try {
        if (typeof document !== 'undefined' || handle.createSyncAccessHandle === undefined) return true;
        const file = await handle.createSyncAccessHandle();
        try {
          file.truncate(bytes);
        } finally {
          file.close();
        }
        return true;
      } catch (cause) {
        // Another tab may be trying at the same time.
        return (cause as { name?: string })?.name !== 'QuotaExceededError';
      } finally {
        await remove(TRIAL).catch(() => {});
      }
    },
    async retain(keys) {
      const kept = new Set(Array.from(keys, nameOf));
      for (const name of await names()) if (!kept.has(name)) await remove(name);
    },
  };
}

async function write(handle: FileHandleLike, bytes: Uint8Array): Promise<void> {
  if (handle.createWritable !== undefined) {
    const file = await handle.createWritable();
    try {
      await file.write(bytes);
      await file.close();
    } catch (cause) {
      await file.abort?.().catch(() => {});
      throw cause;
    }
    return;
  }
  if (handle.createSyncAccessHandle === undefined) {
    throw new EdgeDitError('store-failed', 'this browser writes private files in workers only; open the model in one.');
  }
  const file = await handle.createSyncAccessHandle();
  try {
    file.truncate(0);
    const written = file.write(bytes);
    if (written !== bytes.length) throw new Error(`${written} of ${bytes.length} bytes were written`);
    file.flush();
  } finally {
    file.close();
  }
}

/** No name of an entry: a file that is made large, and deleted. */
const TRIAL = '~trial';

/** Keys have no "~". */
const nameOf = (key: string) => key.replaceAll('/', '~');
const keyOf = (name: string) => name.replaceAll('~', '/');

const isAbsent = (cause: unknown) => (cause as { name?: string })?.name === 'NotFoundError';
