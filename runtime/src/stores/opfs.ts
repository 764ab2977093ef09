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
  createWritable(): Promise<{
    write(bytes: Uint8Array): Promise<void>;
    close(): Promise<void>;
    abort?(): Promise<void>;
  }>;
}

export interface OpfsCache extends CacheLike {
  /** Deletes every entry that is not one of these keys, such as the shards of models of yesterday. */
  retain(keys: Iterable<string>): Promise<void>;
}

/** Opens the cache in a folder of the origin. @throws EdgeDitError `store-failed` where there is no OPFS */
export async function openOpfsCache(folder = 'edge-dit'): Promise<OpfsCache> {
  const { storage } = globalThis.navigator ?? {};
  if (storage?.getDirectory === undefined) {
    throw new EdgeDitError('store-failed', 'no private file system here; serve the page over https or localhost.');
  }
  const root = await storage.getDirectory();
  return opfsCache((await root.getDirectoryHandle(folder, { create: true })) as unknown as DirectoryLike);
}

/** An entry is a file. Its content is there when it is closed, so a page that is left leaves an empty one: damage, which heals. */
export function opfsCache(directory: DirectoryLike): OpfsCache {
  const nameOf = (key: string) => key.replaceAll('/', '~');
  const remove = async (name: string) => {
    await directory.removeEntry(name).catch((cause: unknown) => {
      if (!isAbsent(cause)) throw cause;
    });
  };
  return {
    async match(key) {
      try {
        return (await (await directory.getFileHandle(nameOf(key))).getFile()).stream() as ReadableStream<Uint8Array>;
      } catch (cause) {
        if (isAbsent(cause)) return undefined;
        throw cause;
      }
    },
    async put(key, bytes) {
      const file = await (await directory.getFileHandle(nameOf(key), { create: true })).createWritable();
      try {
        await file.write(bytes);
        await file.close();
      } catch (cause) {
        // Beyond the quota: what was begun would take the place of what fits.
        await file.abort?.().catch(() => {});
        await remove(nameOf(key));
        throw cause;
      }
    },
    delete: (key) => remove(nameOf(key)),
    async retain(keys) {
      const kept = new Set(Array.from(keys, nameOf));
      const found: string[] = [];
      for await (const name of directory.keys()) found.push(name);
      for (const name of found) if (!kept.has(name)) await remove(name);
    },
  };
}

const isAbsent = (cause: unknown) => (cause as { name?: string })?.name === 'NotFoundError';
