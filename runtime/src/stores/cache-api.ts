/** The Cache API (`caches.default` of Cloudflare, `caches.open()` elsewhere) as a cache for `cached`. */
import type { CacheLike } from './cached.ts';

/** The part of `Cache` that is used. */
export interface CacheApi {
  match(url: string): Promise<Pick<Response, 'body'> | undefined>;
  put(url: string, response: Response): Promise<void>;
  delete(url: string): Promise<boolean>;
}

/** `.invalid` is reserved: no request can reach the entries from outside. */
const ORIGIN = 'https://edge-dit.invalid/';

export function cacheApi(cache: CacheApi): CacheLike {
  return {
    match: async (key) => (await cache.match(ORIGIN + key))?.body ?? undefined,
    put: (key, bytes) =>
      cache.put(
        ORIGIN + key,
        new Response(bytes as Uint8Array<ArrayBuffer>, {
          headers: {
            'cache-control': 'public, max-age=31536000, immutable',
            'content-type': 'application/octet-stream',
            'content-length': String(bytes.length),
          },
        }),
      ),
    delete: async (key) => {
      await cache.delete(ORIGIN + key);
    },
  };
}
