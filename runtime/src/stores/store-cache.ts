/** Any store that can be written as a cache for `cached`: a folder beside a gateway, an R2 bucket before a slower one. */
import type { CacheLike } from './cached.ts';
import type { WritableStore } from './store.ts';

/** Entries have the keys that they cache; the store should hold nothing else. */
export function storeCache(store: WritableStore): CacheLike {
  return {
    match: async (key) => (await store.get(key))?.body,
    put: async (key, bytes) => {
      await store.put(key, bytes, { immutable: true });
    },
    delete: (key) => store.delete(key),
  };
}
