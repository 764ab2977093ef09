/** Downloads that break off and go on: what is fetched twice is counted, in the same visit and in the next. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isEdgeDitError } from '../errors.ts';
import { fetchObject } from '../fetch.ts';
import { shardKey } from '../format/keys.ts';
import { sha256Hex } from '../verify.ts';
import { MemoryStore } from './memory.ts';
import { piecesIn } from './parts.ts';
import { resumable } from './resumable.ts';
import type { Store } from './store.ts';
import { storeCache } from './store-cache.ts';

const LENGTH = 1_000_000;
const bytes = Uint8Array.from({ length: LENGTH }, (_, i) => (i * 11 + (i >> 8)) & 255);
const sha256 = await sha256Hex(bytes);
const key = shardKey(sha256);
const CHUNK = 10_000;

/** Sends in chunks, and breaks off after so many bytes in all. */
function faulty(content: Uint8Array, breakAfter: number) {
  const sent = { bytes: 0, requests: 0, left: breakAfter };
  const store: Store = {
    name: 'origin',
    async get(_key, { range } = {}) {
      sent.requests++;
      if (sent.left <= 0) throw new TypeError('the network is gone');
      let at = range?.offset ?? 0;
      const body = new ReadableStream<Uint8Array>(
        {
          pull(controller) {
            if (at >= content.length) return controller.close();
            if (sent.left <= 0) throw new TypeError('the network is gone');
            const chunk = content.subarray(at, at + CHUNK);
            at += chunk.length;
            sent.bytes += chunk.length;
            sent.left -= chunk.length;
            controller.enqueue(chunk);
          },
        },
        { highWaterMark: 0 },
      );
      return { body };
    },
  };
  return { store, sent };
}

const small = (place: MemoryStore) => piecesIn(storeCache(place), { bytes: 65_536 });

const fetching = (store: Store, fresh = false) =>
  fetchObject(store, key, { sha256, length: LENGTH }, { backoff: () => 1, fresh });

test('what came before the network went is not fetched again, in the next visit either', async () => {
  const pieces = new MemoryStore();
  const first = faulty(bytes, 700_000);
  await assert.rejects(fetching(resumable(first.store, small(pieces))), (error) =>
    isEdgeDitError(error, 'store-failed'),
  );
  assert.equal(first.sent.bytes, 700_000);
  const second = faulty(bytes, Number.POSITIVE_INFINITY);
  const store = resumable(second.store, small(pieces));
  const { object } = await fetching(store);
  assert.deepEqual(object.bytes, bytes);
  assert.equal(second.sent.bytes, 300_000);
  for await (const { key: left } of pieces.list('')) assert.fail(`${left} was left`);
});

test('a page that is killed loses less than a piece of an object', async () => {
  const pieces = new MemoryStore();
  const origin = faulty(bytes, Number.POSITIVE_INFINITY);
  const stored = await resumable(origin.store, small(pieces)).get(key);
  const reader = stored!.body.getReader();
  for (let i = 0; i < 50; i++) await reader.read();
  // Nothing is said to the stream: the page is gone.
  await new Promise((resolve) => setTimeout(resolve, 10));
  const next = faulty(bytes, Number.POSITIVE_INFINITY);
  const { object } = await fetching(resumable(next.store, small(pieces)));
  assert.deepEqual(object.bytes, bytes);
  assert.ok(next.sent.bytes > 500_000 && next.sent.bytes <= 500_000 + 65_536 + CHUNK, `${next.sent.bytes} bytes`);
});

test('pieces that are wrong are noticed, dropped and fetched again', async () => {
  const pieces = new MemoryStore();
  await pieces.put(`${key}/0`, new Uint8Array(100_000));
  const origin = faulty(bytes, Number.POSITIVE_INFINITY);
  const { object } = await fetching(resumable(origin.store, small(pieces)));
  assert.deepEqual(object.bytes, bytes);
  assert.equal(origin.sent.bytes, 900_000 + LENGTH);
  for await (const { key: left } of pieces.list('')) assert.fail(`${left} was left`);
});

test('an object that is there in pieces only, to its last byte, is verified without the network', async () => {
  const pieces = new MemoryStore();
  await pieces.put(`${key}/0`, bytes.subarray(0, 600_000));
  await pieces.put(`${key}/600000`, bytes.subarray(600_000));
  const origin = faulty(bytes, 0);
  const { object } = await fetching(resumable(origin.store, small(pieces)));
  assert.deepEqual(object.bytes, bytes);
  assert.equal(origin.sent.bytes, 0);
});

test('what cannot be kept is told, and the download goes on', async () => {
  const errors: unknown[] = [];
  const full = { match: async () => undefined, put: () => Promise.reject(new Error('full')), delete: async () => {} };
  const origin = faulty(bytes, Number.POSITIVE_INFINITY);
  const { object } = await fetching(
    resumable(origin.store, piecesIn(full, { bytes: 65_536, onError: (error) => errors.push(error) })),
  );
  assert.deepEqual(object.bytes, bytes);
  assert.ok(errors.length > 0 && String(errors[0]).includes('full'));
});

test('an object that is not there is not there', async () => {
  const store = resumable(new MemoryStore(), small(new MemoryStore()));
  assert.equal(await store.get(key), undefined);
});
