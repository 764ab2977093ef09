/** What a browser keeps, under a quota that is set: room is made or refused before anything is deleted or fetched. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isEdgeDitError } from '../errors.ts';
import { shardKey } from '../format/keys.ts';
import type { Manifest } from '../format/manifest.ts';
import { type DirectoryLike, opfsCache } from '../stores/opfs.ts';
import { sha256Hex } from '../verify.ts';
import { StoredModels } from './stored-models.ts';

/** A folder of a browser in memory, with the errors of one. */
function folder(): DirectoryLike & { readonly files: Map<string, Uint8Array> } {
  const files = new Map<string, Uint8Array>();
  const absent = () => Object.assign(new Error('absent'), { name: 'NotFoundError' });
  return {
    files,
    async getFileHandle(name, { create } = {}) {
      if (!files.has(name) && !create) throw absent();
      if (!files.has(name)) files.set(name, new Uint8Array());
      return {
        getFile: async () => new Blob([files.get(name)! as Uint8Array<ArrayBuffer>]),
        async createWritable() {
          let written = new Uint8Array();
          return {
            async write(bytes) {
              written = bytes.slice();
            },
            async close() {
              files.set(name, written);
            },
          };
        },
      };
    },
    async removeEntry(name) {
      if (!files.delete(name)) throw absent();
    },
    async *keys() {
      yield* files.keys();
    },
  };
}

const MB = 1e6;
const shardOf = async (name: string, length: number) => ({
  sha256: await sha256Hex(new TextEncoder().encode(name)),
  length,
});
const manifestOf = (model: string, shards: Manifest['shards']) => ({ model, shards, files: [] }) as unknown as Manifest;

/** @param told the quota that the browser says it has */
async function setUp(quota: number, told = quota) {
  const [objects, records] = [folder(), folder()];
  const usage = () => [...objects.files.values()].reduce((sum, { length }) => sum + length, 0);
  const cache = { ...opfsCache(objects), canHold: async (bytes: number) => usage() + bytes <= quota };
  const stored = new StoredModels(cache, opfsCache(records), async () => ({ usage: usage(), quota: told }));
  const add = async (model: string, shards: Manifest['shards'], evict = false) => {
    const manifest = manifestOf(model, shards);
    const evicted = await stored.admit({ manifest, digest: model, files: [] }, { evict });
    for (const { sha256, length } of shards) await opfsCache(objects).put(shardKey(sha256), new Uint8Array(length));
    // Times of use differ.
    await new Promise((resolve) => setTimeout(resolve, 2));
    return evicted.map((gone) => gone.model);
  };
  const names = async () => (await stored.list()).map(({ model }) => model);
  return { objects, records, stored, add, names };
}

const [a, b, c, shared, d] = await Promise.all([
  shardOf('a', 3 * MB),
  shardOf('b', 2 * MB),
  shardOf('c', 4 * MB),
  shardOf('shared', 2 * MB),
  shardOf('d', 20 * MB),
]);

test('models are listed by their last use, with their bytes', async () => {
  const { stored, add } = await setUp(100 * MB);
  await add('one', [a, shared]);
  await add('two', [b, shared]);
  await add('one', [a, shared]);
  const list = await stored.list();
  assert.deepEqual(
    list.map(({ model, bytes }) => [model, bytes]),
    [
      ['one', 5 * MB],
      ['two', 4 * MB],
    ],
  );
});

test('without room the error says how much is needed and what could go, and nothing is deleted', async () => {
  const { add, names, objects } = await setUp(8 * MB);
  await add('one', [a]);
  await add('two', [b]);
  await assert.rejects(add('three', [c]), (error) => {
    assert.ok(isEdgeDitError(error, 'storage-full'));
    assert.match(error.message, /storing three needs 4\.1 MB, and 3\.0 MB of the 8\.0 MB/);
    assert.match(error.message, /delete two \(2\.0 MB, last used \d{4}-\d\d-\d\d\) or one \(3\.0 MB/);
    return true;
  });
  assert.deepEqual(await names(), ['two', 'one']);
  assert.equal(objects.files.size, 2);
});

test('where it is allowed, the model that was not used for longest goes, and no more than is needed', async () => {
  const { add, names } = await setUp(8 * MB);
  await add('one', [a]);
  await add('two', [b]);
  assert.deepEqual(await add('three', [c], true), ['one']);
  assert.deepEqual(await names(), ['three', 'two']);
});

test('a quota that the browser does not tell is found out before anything is deleted', async () => {
  const { add, names } = await setUp(8 * MB, 10_000 * MB);
  await add('one', [a]);
  await add('two', [b]);
  await assert.rejects(add('large', [d], true), /deleting two .*, one .* would not be enough/);
  assert.deepEqual(await names(), ['two', 'one']);
  assert.deepEqual(await add('three', [c], true), ['one']);
});

test('what would not be enough is not deleted', async () => {
  const { add, names } = await setUp(8 * MB);
  await add('one', [a]);
  await assert.rejects(add('large', [d], true), /deleting one .* would not be enough/);
  assert.deepEqual(await names(), ['one']);
});

test('a model that goes leaves what another one shares with it; what is stored already needs no room', async () => {
  const { add, stored, objects } = await setUp(9 * MB);
  await add('one', [a, shared]);
  await add('two', [b, shared]);
  assert.deepEqual(await add('two', [b, shared]), []);
  await stored.remove('one');
  assert.deepEqual([...objects.files.keys()].sort(), [b, shared].map(({ sha256 }) => `shards~${sha256}`).sort());
  await stored.remove('one');
});

test('shards of a version that was replaced go when the new one is there; a damaged record is forgotten', async () => {
  const { add, stored, objects, records, names } = await setUp(50 * MB);
  await add('one', [a, shared]);
  await add('one', [b, shared]);
  await stored.tidy();
  assert.deepEqual([...objects.files.keys()].sort(), [b, shared].map(({ sha256 }) => `shards~${sha256}`).sort());
  records.files.set('two', new TextEncoder().encode('{"mod'));
  assert.deepEqual(await names(), ['one']);
  assert.equal(records.files.size, 1);
});
