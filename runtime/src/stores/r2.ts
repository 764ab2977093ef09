/** A store over a Cloudflare R2 binding (`env.BUCKET`), which is described here by its shape: no import is needed. */
import { checkKey } from '../format/keys.ts';
import type { GetOptions, ListedObject, ObjectInfo, PutOptions, StoredObject, WritableStore } from './store.ts';
import { preconditionFailed, storeFailed, throwIfAborted } from './store-error.ts';

interface R2Info {
  readonly key: string;
  readonly size: number;
  readonly etag: string;
  readonly uploaded: Date;
}

/** The part of `R2Bucket` that is used. */
export interface R2BucketLike {
  get(
    key: string,
    options?: { range?: { offset: number; length?: number } },
  ): Promise<(R2Info & { readonly body: ReadableStream }) | null>;
  head(key: string): Promise<R2Info | null>;
  put(
    key: string,
    value: Uint8Array,
    options?: {
      sha256?: string;
      onlyIf?: { etagMatches?: string; etagDoesNotMatch?: string };
      httpMetadata?: { contentType?: string; cacheControl?: string };
    },
  ): Promise<R2Info | null>;
  list(options: {
    prefix: string;
    cursor?: string;
  }): Promise<{ objects: R2Info[]; truncated: boolean; cursor?: string }>;
  delete(key: string): Promise<void>;
}

export class R2Store implements WritableStore {
  readonly name: string;
  readonly #bucket: R2BucketLike;

  /** `name` is the bucket's, for messages: a binding does not know it. */
  constructor(bucket: R2BucketLike, name = 'bucket') {
    this.#bucket = bucket;
    this.name = `r2:${name}`;
  }

  async get(key: string, { signal, range }: GetOptions = {}): Promise<StoredObject | undefined> {
    const object = await this.#call('get', key, signal, () => this.#bucket.get(key, range && { range }));
    if (object === null) return undefined;
    const rest = object.size - (range?.offset ?? 0);
    return { size: Math.min(rest, range?.length ?? rest), etag: object.etag, body: object.body };
  }

  async head(key: string, { signal }: { signal?: AbortSignal } = {}): Promise<ObjectInfo | undefined> {
    const info = await this.#call('head', key, signal, () => this.#bucket.head(key));
    return info === null ? undefined : { size: info.size, etag: info.etag };
  }

  async put(key: string, bytes: Uint8Array, options: PutOptions = {}): Promise<{ etag: string }> {
    const { ifMatch, ifNoneMatch, contentType, immutable, sha256 } = options;
    const onlyIf = ifNoneMatch
      ? { etagDoesNotMatch: '*' }
      : ifMatch === undefined
        ? undefined
        : { etagMatches: ifMatch };
    const cacheControl = immutable ? 'public, max-age=31536000, immutable' : 'no-cache';
    const info = await this.#call('put', key, options.signal, () =>
      this.#bucket.put(key, bytes, { onlyIf, sha256, httpMetadata: { contentType, cacheControl } }),
    );
    if (info === null) throw preconditionFailed(this.name, key, options);
    return { etag: info.etag };
  }

  async *list(prefix: string): AsyncIterable<ListedObject> {
    let cursor: string | undefined;
    do {
      const from = cursor;
      const page = await this.#guard('list', prefix, undefined, () =>
        this.#bucket.list(from === undefined ? { prefix } : { prefix, cursor: from }),
      );
      for (const { key, size, etag, uploaded } of page.objects) yield { key, size, etag, modified: uploaded };
      cursor = page.truncated ? page.cursor : undefined;
    } while (cursor !== undefined);
  }

  async delete(key: string, { signal }: { signal?: AbortSignal } = {}): Promise<void> {
    await this.#call('delete', key, signal, () => this.#bucket.delete(key));
  }

  async #call<T>(
    operation: Parameters<typeof storeFailed>[1],
    key: string,
    signal: AbortSignal | undefined,
    work: () => Promise<T>,
  ): Promise<T> {
    checkKey(key);
    return this.#guard(operation, key, signal, work);
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
      throw storeFailed(this.name, operation, key, cause, signal);
    }
  }
}
