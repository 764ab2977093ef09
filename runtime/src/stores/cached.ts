/**
 * A store behind a cache. Only content-addressed objects are cached, under their own key, which is a digest: a request
 * cannot choose a cache key. The cache is filled by `keep`, which takes verified objects only; what comes out is
 * verified by the reader like everything else, and a reader that finds it wrong asks with `fresh`, which drops it.
 */
import { digestOfKey } from '../format/keys.ts';
import type { VerifiedObject } from '../verify.ts';
import type { GetOptions, Store, StoredObject } from './store.ts';

/** A place that may forget. Its failures cost time, not correctness. */
export interface CacheLike {
  match(key: string): Promise<ReadableStream<Uint8Array> | undefined>;
  put(key: string, bytes: Uint8Array): Promise<void>;
  delete(key: string): Promise<void>;
}

export interface CachedOptions {
  /** Takes over work that may outlast the request, for example `ctx.waitUntil`. Default: it is waited for. */
  readonly defer?: (work: Promise<void>) => void;
  /** Is told what the cache failed at; the store behind it answers then. */
  readonly onError?: (error: unknown) => void;
}

export function cached(store: Store, cache: CacheLike, { defer, onError }: CachedOptions = {}): Store {
  const attempt = async <T>(work: () => Promise<T>): Promise<T | undefined> => {
    try {
      return await work();
    } catch (error) {
      onError?.(error);
      return undefined;
    }
  };
  return {
    name: store.name,
    async get(key: string, options: GetOptions = {}): Promise<StoredObject | undefined> {
      if (digestOfKey(key) === undefined) return store.get(key, options);
      if (options.fresh) await attempt(() => cache.delete(key));
      else if (options.range === undefined) {
        const body = await attempt(() => cache.match(key));
        if (body !== undefined) return { body, cached: true };
      }
      return store.get(key, options);
    },
    async keep(key: string, object: VerifiedObject): Promise<void> {
      await store.keep?.(key, object);
      if (digestOfKey(key) !== object.sha256) return;
      if (defer === undefined) await attempt(() => cache.put(key, object.bytes));
      // Whoever fetched it may use its memory again by then.
      else {
        const bytes = object.bytes.slice();
        defer(attempt(() => cache.put(key, bytes)));
      }
    },
  };
}
