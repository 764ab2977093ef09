/** Stores that can be written as caches: a folder and R2 in miniflare. Filled by what was verified, healed when damaged. */
import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Miniflare } from 'miniflare';
import { fetchObject } from '../fetch.ts';
import { shardKey } from '../format/keys.ts';
import { sha256Hex } from '../verify.ts';
import { cached } from './cached.ts';
import { FsStore } from './fs.ts';
import { MemoryStore } from './memory.ts';
import { type R2BucketLike, R2Store } from './r2.ts';
import type { Store, WritableStore } from './store.ts';
import { storeCache } from './store-cache.ts';

const bytes = Uint8Array.from({ length: 300_000 }, (_, i) => (i * 11) & 255);
const cleanups: (() => Promise<unknown>)[] = [];
after(async () => {
  for (const cleanup of cleanups) await cleanup();
});

const places: { name: string; open: () => Promise<WritableStore> }[] = [
  {
    name: 'a folder',
    open: async () => {
      const root = await mkdtemp(join(tmpdir(), 'edge-dit-cache-'));
      cleanups.push(() => rm(root, { recursive: true }));
      return new FsStore(root);
    },
  },
  {
    name: 'R2',
    open: async () => {
      const miniflare = new Miniflare({ modules: true, script: 'export default {}', r2Buckets: ['CACHE'] });
      cleanups.push(() => miniflare.dispose());
      return new R2Store((await miniflare.getR2Bucket('CACHE')) as unknown as R2BucketLike, 'CACHE');
    },
  },
];

for (const { name, open } of places) {
  test(`${name} answers instead of the origin, and a bad entry heals`, async () => {
    const place = await open();
    const origin = new MemoryStore();
    const sha256 = await sha256Hex(bytes);
    const key = shardKey(sha256);
    await origin.put(key, bytes);
    let reads = 0;
    const counted: Store = {
      name: 'origin',
      get: (...args) => {
        reads++;
        return origin.get(...args);
      },
    };
    const store = cached(counted, storeCache(place));
    const read = async () => {
      reads = 0;
      const { object } = await fetchObject(store, key, { sha256, length: bytes.length });
      assert.deepEqual(object.bytes, bytes);
      return reads;
    };
    assert.equal(await read(), 1);
    assert.equal(await read(), 0);
    for (const damaged of [bytes.map((byte, i) => (i === 9 ? byte ^ 1 : byte)), bytes.subarray(1), new Uint8Array(1)]) {
      await place.put(key, damaged);
      assert.equal(await read(), 1, 'a bad entry was believed, or the origin was asked twice');
      assert.equal(await read(), 0, 'the entry did not heal');
    }
    if (place instanceof FsStore)
      assert.deepEqual((await readdir(place.name.slice('file:'.length))).sort(), ['.edge-dit', 'shards']);
  });
}
