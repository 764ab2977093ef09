/**
 * Parts in a browser's private files. A worker writes each byte where it belongs as it comes, so that nothing is lost when the
 * tab dies; a page, which can write whole files only, has pieces.
 */
import { type DirectoryLike, openOpfsFolder, opfsCache } from './opfs.ts';
import { type Part, type Parts, type PiecesOptions, piecesIn } from './parts.ts';

/** What a worker has of a file that it alone uses. */
interface AccessHandle {
  getSize(): number;
  read(bytes: Uint8Array, options: { at: number }): number;
  write(bytes: Uint8Array, options: { at: number }): number;
  close(): void;
}

const READ_BYTES = 2 ** 18;

/** @throws EdgeDitError `store-failed` where there is no OPFS */
export async function openOpfsParts(folder: string, options: PiecesOptions = {}): Promise<Parts> {
  const directory = await openOpfsFolder(folder);
  const cache = opfsCache(directory);
  const clear = () => cache.retain([]);
  const isWorker = typeof document === 'undefined';
  if (!isWorker) return { ...piecesIn(cache, options), clear };
  return { open: (key) => open(directory, nameOf(key)), delete: cache.delete, clear };
}

async function open(directory: DirectoryLike, name: string): Promise<Part> {
  const file = (await directory.getFileHandle(name, { create: true })) as unknown as {
    createSyncAccessHandle(): Promise<AccessHandle>;
  };
  const handle = await file.createSyncAccessHandle();
  return {
    async read(at) {
      const bytes = new Uint8Array(Math.min(READ_BYTES, Math.max(0, handle.getSize() - at)));
      if (bytes.length === 0) return undefined;
      return bytes.subarray(0, handle.read(bytes, { at }));
    },
    write(at, bytes) {
      const written = handle.write(bytes, { at });
      if (written !== bytes.length) throw new Error(`${name}: ${written} of ${bytes.length} bytes were written`);
    },
    async close() {
      handle.close();
    },
  };
}

const nameOf = (key: string) => key.replaceAll('/', '~');
