/** Pointers and manifests without a network: real models in a store that can be switched off. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isEdgeDitError } from '../errors.ts';
import { manifestKey, pointerKey } from '../format/keys.ts';
import { sha256Hex, verifyObject } from '../verify.ts';
import { MemoryStore } from './memory.ts';
import { remembered } from './remembered.ts';
import type { GetOptions, Store } from './store.ts';
import { storeCache } from './store-cache.ts';

const bytesOf = (text: string) => new TextEncoder().encode(text);
const textOf = async (stored: Awaited<ReturnType<Store['get']>>) => stored && new Response(stored.body as never).text();

function switched() {
  const origin = new MemoryStore();
  const state: { mode: 'on' | 'off' | 'silent'; asked: string[] } = { mode: 'on', asked: [] };
  const store: Store = {
    name: 'origin',
    get: (key: string, options?: GetOptions) => {
      state.asked.push(key);
      if (state.mode === 'off') return Promise.reject(new TypeError('Failed to fetch'));
      if (state.mode === 'silent') return new Promise(() => {});
      return origin.get(key, options);
    },
  };
  return { origin, store, state };
}

const key = pointerKey('m');

test('a pointer is asked for each time, and is that of the last time where nobody answers', async () => {
  const { origin, store, state } = switched();
  const told: string[] = [];
  const wrapped = remembered(store, storeCache(new MemoryStore()), {
    patienceMs: 50,
    onRemembered: (asked, reason) => told.push(`${asked}: ${reason}`),
  });
  await origin.put(key, bytesOf('one'));
  assert.equal(await textOf(await wrapped.get(key)), 'one');
  await origin.put(key, bytesOf('two'));
  assert.equal(await textOf(await wrapped.get(key)), 'two');
  assert.deepEqual(told, []);
  state.mode = 'off';
  assert.equal(await textOf(await wrapped.get(key)), 'two');
  state.mode = 'silent';
  assert.equal(await textOf(await wrapped.get(key)), 'two');
  assert.equal(told.length, 2);
  assert.match(told[0], /Failed to fetch/);
  assert.match(told[1], /no answer in 50 ms/);
  // Whoever found it wrong wants another one or none.
  state.mode = 'off';
  await assert.rejects(wrapped.get(key, { fresh: true }));
});

test('a pointer that was deleted is forgotten; one that never came is an error', async () => {
  const { origin, store, state } = switched();
  const wrapped = remembered(store, storeCache(new MemoryStore()));
  await origin.put(key, bytesOf('one'));
  assert.equal(await textOf(await wrapped.get(key)), 'one');
  await origin.delete(key);
  assert.equal(await wrapped.get(key), undefined);
  state.mode = 'off';
  await assert.rejects(wrapped.get(key), /Failed to fetch/);
  const gone = new AbortController();
  gone.abort();
  await assert.rejects(wrapped.get(key, { signal: gone.signal }), (error) => isEdgeDitError(error, 'aborted'));
});

test('a manifest is remembered when it was verified, and asked for once', async () => {
  const { origin, store, state } = switched();
  const memory = new MemoryStore();
  const wrapped = remembered(store, storeCache(memory));
  const bytes = bytesOf('{"manifest": true}');
  const sha256 = await sha256Hex(bytes);
  await origin.put(manifestKey(sha256), bytes);
  assert.equal(await textOf(await wrapped.get(manifestKey(sha256))), '{"manifest": true}');
  assert.equal(await memory.get(manifestKey(sha256)), undefined);
  await wrapped.keep?.(manifestKey(sha256), await verifyObject(bytes, sha256, 'manifest'));
  state.mode = 'off';
  const again = await wrapped.get(manifestKey(sha256));
  assert.equal(again?.cached, true);
  assert.equal(await textOf(again), '{"manifest": true}');
  await assert.rejects(wrapped.get(manifestKey(sha256), { fresh: true }));
});

test('a pointer beyond the limit is not read to its end', async () => {
  const { origin, store } = switched();
  const wrapped = remembered(store, storeCache(new MemoryStore()));
  await origin.put(key, new Uint8Array(10_000_000));
  await assert.rejects(wrapped.get(key), (error) => isEdgeDitError(error, 'manifest-invalid'));
});
