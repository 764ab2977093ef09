/** A store in memory, for tests and for one process. Etags count the writes. */
import { checkKey } from '../format/keys.ts';
import { streamOf } from './body.ts';
import type { GetOptions, ListedObject, ObjectInfo, PutOptions, StoredObject, WritableStore } from './store.ts';
import { preconditionFailed, throwIfAborted } from './store-error.ts';

interface Entry extends ObjectInfo {
  readonly bytes: Uint8Array;
  readonly modified: Date;
}

export class MemoryStore implements WritableStore {
  readonly name = 'memory';
  readonly #entries = new Map<string, Entry>();
  #writes = 0;

  async get(key: string, { signal, range }: GetOptions = {}): Promise<StoredObject | undefined> {
    checkKey(key);
    throwIfAborted(signal, `memory: get ${key}`);
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    const start = range?.offset ?? 0;
    const bytes = entry.bytes.subarray(start, range?.length === undefined ? undefined : start + range.length);
    return { size: bytes.length, etag: entry.etag, body: streamOf(bytes) };
  }

  async head(key: string): Promise<ObjectInfo | undefined> {
    checkKey(key);
    const entry = this.#entries.get(key);
    return entry && { size: entry.size, etag: entry.etag };
  }

  async put(key: string, bytes: Uint8Array, options: PutOptions = {}): Promise<{ etag: string }> {
    checkKey(key);
    throwIfAborted(options.signal, `memory: put ${key}`);
    const old = this.#entries.get(key);
    if (options.ifNoneMatch === '*' && old !== undefined) throw preconditionFailed(this.name, key, {});
    if (options.ifMatch !== undefined && old?.etag !== options.ifMatch) {
      throw preconditionFailed(this.name, key, options);
    }
    const etag = String(++this.#writes);
    this.#entries.set(key, { bytes: bytes.slice(), size: bytes.length, etag, modified: new Date() });
    return { etag };
  }

  async *list(prefix: string): AsyncIterable<ListedObject> {
    for (const key of [...this.#entries.keys()].sort()) {
      const entry = this.#entries.get(key);
      if (entry === undefined || !key.startsWith(prefix)) continue;
      yield { key, size: entry.size, etag: entry.etag, modified: entry.modified };
    }
  }

  async delete(key: string, { signal }: { signal?: AbortSignal } = {}): Promise<void> {
    checkKey(key);
    throwIfAborted(signal, `memory: delete ${key}`);
    this.#entries.delete(key);
  }
}
