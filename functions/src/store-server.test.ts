import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { isEdgeDitError } from '@edge-dit/runtime/errors';
import { HttpStore } from '@edge-dit/runtime/stores/http';
import { MemoryStore } from '@edge-dit/runtime/stores/memory';
import { serveStore } from './store-server.ts';

const store = new MemoryStore();
const bytes = Uint8Array.from({ length: 1000 }, (_, i) => i);
await store.put('shards/abc', bytes);
await store.put('models/x.json', bytes.subarray(0, 10));
await store.put('private/key', bytes);
const seen: string[] = [];
const server = await serveStore(store, { onRequest: (key) => seen.push(key) });
after(() => server.close());
const client = new HttpStore(server.url);

async function read(key: string, range?: { offset: number; length?: number }) {
  const object = await client.get(key, { range });
  return object && new Uint8Array(await new Response(object.body as BodyInit).arrayBuffer());
}

test('objects whole and in part, as the store has them', async () => {
  assert.deepEqual(await read('shards/abc'), bytes);
  assert.deepEqual(await read('models/x.json'), bytes.slice(0, 10));
  assert.deepEqual(await read('shards/abc', { offset: 990 }), bytes.slice(990));
  assert.deepEqual(await read('shards/abc', { offset: 5, length: 7 }), bytes.slice(5, 12));
  assert.equal((await client.get('shards/abc'))?.size, 1000);
  assert.ok(seen.includes('shards/abc'));
});

test('what is not there, and what is not for readers, is absent', async () => {
  for (const key of ['shards/none', 'private/key', 'shards', 'shards/abc/def'])
    assert.equal(await read(key), undefined);
  const { origin, search } = new URL(server.url);
  for (const path of ['/private/key', '/shards/..%2Fprivate%2Fkey', '/shards/%2e%2e/private/key', '/shards/.hidden']) {
    assert.equal((await fetch(origin + path + search)).status, 404, path);
  }
});

test('only with the token, and only to read', async () => {
  const { origin, search } = new URL(server.url);
  assert.equal((await fetch(`${origin}/shards/abc`)).status, 403);
  assert.equal((await fetch(`${origin}/shards/abc?token=x`)).status, 403);
  for (const method of ['PUT', 'POST', 'DELETE']) {
    assert.equal((await fetch(`${origin}/shards/abc${search}`, { method })).status, 404, method);
  }
  await assert.rejects(new HttpStore(origin).get('shards/abc'), (error) => isEdgeDitError(error, 'store-denied'));
});

test('a port that is taken is an error with the way out', async () => {
  const port = Number(new URL(server.url).port);
  await assert.rejects(serveStore(store, { port }), (error) => {
    assert.ok(isEdgeDitError(error, 'invalid-argument') && /EADDRINUSE.*another port/.test(error.message), `${error}`);
    return true;
  });
});
