import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Manifest } from '../format/manifest.ts';
import { streamOf } from '../stores/body.ts';
import type { CacheLike } from '../stores/cached.ts';
import type { TextEncoder } from './conditioning.ts';
import { embeddingCache, packEmbedding, unpackEmbedding } from './embedding-cache.ts';

class MapCache implements CacheLike {
  readonly entries = new Map<string, Uint8Array>();
  async match(key: string) {
    const bytes = this.entries.get(key);
    return bytes && streamOf(bytes);
  }
  async put(key: string, bytes: Uint8Array) {
    this.entries.set(key, bytes);
  }
  async delete(key: string) {
    this.entries.delete(key);
  }
}

/** Two tokens, three channels: the length of the prompt, counted up. */
function countingEncoder() {
  const asked: string[] = [];
  const encoder: TextEncoder = {
    async encode(prompts) {
      asked.push(...prompts);
      const data = prompts.flatMap(({ length }) => Array.from({ length: 6 }, (_, i) => length + i / 3));
      return {
        count: prompts.length,
        tokens: 2,
        channels: 3,
        data: Float32Array.from(data),
        mask: Int32Array.from(prompts.flatMap(({ length }) => [1, length & 1])),
      };
    },
  };
  return { encoder, asked };
}

const manifestOf = (encoderDigest: string) =>
  ({
    pipeline: { conditioning: { type: 'text', tokenizer: 't', textEncoder: 'e' } },
    files: [
      { name: 't', sha256: 'aa' },
      { name: 'e', sha256: encoderDigest },
    ],
  }) as unknown as Manifest;

test('rows come from the cache where it has them, in the order of the prompts', async () => {
  const { encoder, asked } = countingEncoder();
  const cache = new MapCache();
  const caching = embeddingCache(encoder, manifestOf('bb'), cache);
  const expected = await encoder.encode(['', 'apple', 'pear']);
  asked.length = 0;
  await caching.encode(['apple']);
  assert.deepEqual(await caching.encode(['', 'apple', 'pear']), expected);
  assert.deepEqual(asked, ['apple', '', 'pear']);
  assert.deepEqual(await caching.encode(['', 'apple', 'pear']), expected);
  assert.equal(asked.length, 3);
});

test('keys are hashes, of the prompt and of the files that embed it', async () => {
  const { encoder, asked } = countingEncoder();
  const cache = new MapCache();
  await embeddingCache(encoder, manifestOf('bb'), cache).encode(['../secret plans']);
  await embeddingCache(encoder, manifestOf('cc'), cache).encode(['../secret plans']);
  assert.equal(asked.length, 2);
  assert.equal(cache.entries.size, 2);
  for (const key of cache.entries.keys()) assert.match(key, /^embeddings\/[0-9a-f]{64}$/);
});

test('a damaged entry is computed again and replaced', async () => {
  const { encoder, asked } = countingEncoder();
  const cache = new MapCache();
  const caching = embeddingCache(encoder, manifestOf('bb'), cache);
  const expected = await caching.encode(['apple']);
  const [[key, good]] = cache.entries;
  for (let at = 0; at <= good.length; at += 7) {
    const bad = at === good.length ? good.subarray(0, -4) : good.slice();
    if (at < good.length) bad[at] ^= 0x10;
    cache.entries.set(key, bad);
    assert.deepEqual(await caching.encode(['apple']), expected);
    assert.deepEqual(cache.entries.get(key), good);
  }
  assert.ok(asked.length > 10);
});

test('a digest that fits does not excuse a shape that does not', async () => {
  const mask = new Int32Array(2);
  const odd = await packEmbedding({ count: 1, tokens: 2, channels: 4, data: new Float32Array(6), mask });
  assert.equal(await unpackEmbedding(odd), undefined);
  const huge = await packEmbedding({ count: 1, tokens: 2 ** 31, channels: 2 ** 31, data: new Float32Array(6), mask });
  assert.equal(await unpackEmbedding(huge), undefined);
  assert.equal(await unpackEmbedding(new Uint8Array(0)), undefined);
});

test('a cache that fails costs time only, and says so', async () => {
  const { encoder } = countingEncoder();
  const failing: CacheLike = {
    match: () => Promise.reject(new Error('match')),
    put: () => Promise.reject(new Error('put')),
    delete: () => Promise.reject(new Error('delete')),
  };
  const errors: string[] = [];
  const onError = (error: unknown) => errors.push((error as Error).message);
  const caching = embeddingCache(encoder, manifestOf('bb'), failing, { onError });
  assert.deepEqual(await caching.encode(['apple']), await encoder.encode(['apple']));
  assert.deepEqual(errors, ['match', 'put']);
});
