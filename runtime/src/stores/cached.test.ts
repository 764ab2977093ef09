/** The wrapper over the Cache API of a real workerd. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { Miniflare } from 'miniflare';
import { fetchObject } from '../fetch.ts';
import { shardKey } from '../format/keys.ts';
import { sha256Hex, verifyObject } from '../verify.ts';
import { type CacheLike, cached } from './cached.ts';
import { MemoryStore } from './memory.ts';

const bytes = Uint8Array.from({ length: 100_000 }, (_, i) => (i * 11) & 255);

/** A worker that reads one object through the cache and says what it got from where. */
const WORKER = `
  import { cached } from './stores/cached.js';
  import { cacheApi } from './stores/cache-api.js';
  import { R2Store } from './stores/r2.js';
  import { fetchObject } from './fetch.js';
  export default {
    async fetch(request, env, ctx) {
      const { searchParams } = new URL(request.url);
      const sha256 = searchParams.get('sha256');
      const length = Number(searchParams.get('length'));
      const key = 'shards/' + sha256;
      const origin = new R2Store(env.BUCKET);
      let reads = 0;
      const counted = { name: 'r2', get: (...args) => (reads++, origin.get(...args)) };
      const errors = [];
      const onError = (error) => errors.push(String(error));
      const store = cached(counted, cacheApi(caches.default), { onError });
      if (searchParams.has('poison')) {
        await cacheApi(caches.default).put(key, new Uint8Array(length));
        return new Response('poisoned');
      }
      try {
        const { object } = await fetchObject(store, key, { sha256, length });
        return Response.json({ reads, first: object.bytes[1], length: object.bytes.length, errors });
      } catch (error) {
        return Response.json({ reads, code: error.code, message: error.message, errors });
      }
    },
  };`;

describe('cached over the Cache API in workerd', () => {
  let miniflare: Miniflare;
  let query: string;
  const ask = async (extra = '') => (await miniflare.dispatchFetch(`http://worker/?${query}${extra}`)).text();

  before(async () => {
    const bundle = await build({
      stdin: { contents: WORKER, resolveDir: fileURLToPath(new URL('..', import.meta.url)), loader: 'js' },
      bundle: true,
      format: 'esm',
      write: false,
    });
    miniflare = new Miniflare({
      modules: true,
      script: bundle.outputFiles[0].text,
      r2Buckets: ['BUCKET'],
      compatibilityDate: '2026-04-01',
    });
    const sha256 = await sha256Hex(bytes);
    query = `sha256=${sha256}&length=${bytes.length}`;
    const bucket = await miniflare.getR2Bucket('BUCKET');
    await bucket.put(shardKey(sha256), bytes);
  });
  after(() => miniflare.dispose());

  test('the first read fills it, the second does not reach the origin', async () => {
    const good = { first: 11, length: bytes.length, errors: [] };
    assert.deepEqual(JSON.parse(await ask()), { reads: 1, ...good });
    assert.deepEqual(JSON.parse(await ask()), { reads: 0, ...good });
  });

  test('a wrong entry is dropped, read again from the origin, and healed', async () => {
    assert.equal(await ask('&poison'), 'poisoned');
    assert.equal(JSON.parse(await ask()).reads, 1);
    assert.equal(JSON.parse(await ask()).reads, 0);
  });
});

describe('cached', () => {
  const entries = new Map<string, Uint8Array>();
  const cache: CacheLike = {
    match: async (key) => {
      const entry = entries.get(key);
      return entry && (new Blob([entry as Uint8Array<ArrayBuffer>]).stream() as ReadableStream<Uint8Array>);
    },
    put: async (key, content) => void entries.set(key, content),
    delete: async (key) => void entries.delete(key),
  };

  test('only verified objects under their own digest are kept', async () => {
    const origin = new MemoryStore();
    const store = cached(origin, cache);
    const sha256 = await sha256Hex(bytes);
    const object = await verifyObject(bytes, sha256, 'object');
    for (const key of ['models/m.json', `manifests/${sha256}.json`, `shards/${'0'.repeat(64)}`, 'shards/x']) {
      await origin.put(key, bytes);
      await store.keep?.(key, object);
      await store.get(key);
    }
    assert.equal(entries.size, 0);
    await store.keep?.(shardKey(sha256), object);
    assert.deepEqual([...entries.keys()], [shardKey(sha256)]);
  });

  test('a cache that fails is reported and passed by', async () => {
    const origin = new MemoryStore();
    const sha256 = await sha256Hex(bytes);
    await origin.put(shardKey(sha256), bytes);
    const broken = async () => {
      throw new Error('the cache is full');
    };
    const errors: unknown[] = [];
    const deferred: Promise<void>[] = [];
    const store = cached(
      origin,
      { match: broken, put: broken, delete: broken },
      { onError: (error) => errors.push(error), defer: (work) => deferred.push(work) },
    );
    const { object } = await fetchObject(store, shardKey(sha256), { sha256, length: bytes.length });
    assert.deepEqual(object.bytes, bytes);
    await Promise.all(deferred);
    assert.equal(errors.length, 2);
    assert.equal(deferred.length, 1);
  });
});
