/** What prune takes and leaves, and that nothing goes which is being published, at whatever moment it runs. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isEdgeDitError } from '@edge-dit/runtime/errors';
import { manifestKey, PRUNE_KEY, shardKey } from '@edge-dit/runtime/format/keys';
import { MAX_HISTORY } from '@edge-dit/runtime/format/limits';
import { readPointer } from '@edge-dit/runtime/load-manifest';
import { MemoryStore } from '@edge-dit/runtime/stores/memory';
import type { PutOptions } from '@edge-dit/runtime/stores/store';
import { VersionedModels } from '../testing/versioned-models.ts';
import { verifyModel } from '../verify-model.ts';
import { prune } from './prune.ts';
import { PruneLease, whenNoPruneRuns } from './prune-lease.ts';
import { publish } from './publish.ts';
import { rollback } from './rollback.ts';

const models = await VersionedModels.make();
const HOUR = 3_600_000;

/** Says that all but what was put since `young()` is two days old. */
class AgedStore extends MemoryStore {
  readonly #young = new Set<string>();
  beforePointer: () => Promise<void> = async () => {};
  beforeDelete: () => Promise<void> = async () => {};

  age(): void {
    this.#young.clear();
  }

  override async put(key: string, bytes: Uint8Array, options: PutOptions = {}): Promise<{ etag: string }> {
    if (key.startsWith('models/')) await this.beforePointer();
    this.#young.add(key);
    return super.put(key, bytes, options);
  }

  override async delete(key: string, options = {}): Promise<void> {
    await this.beforeDelete();
    return super.delete(key, options);
  }

  override async *list(prefix: string) {
    for await (const object of super.list(prefix)) {
      yield this.#young.has(object.key) ? object : { ...object, modified: new Date(Date.now() - 48 * HOUR) };
    }
  }

  async keys(prefix = ''): Promise<string[]> {
    const keys: string[] = [];
    for await (const { key } of this.list(prefix)) keys.push(key);
    return keys;
  }
}

const version = async (number: number, name = 'm') => models.version(name, number);
const isWhole = async (store: MemoryStore, name = 'm') => assert.deepEqual((await verifyModel(store, name)).damage, []);

test('kept are models, their histories, what is young, and what is not ours; all else goes', async () => {
  const store = new AgedStore();
  for (let i = 0; i <= MAX_HISTORY + 1; i++) await publish({ ...(await version(i)), store });
  await publish({ ...(await version(63, 'other')), store });
  await store.put('shards/notes.txt', new Uint8Array(3));
  await store.put(shardKey('a'.repeat(64)), new Uint8Array(5));
  store.age();
  await store.put(shardKey('b'.repeat(64)), new Uint8Array(7));
  const before = await store.keys();
  const dry = await prune({ store, dryRun: true });
  assert.deepEqual(await store.keys(), before);
  const pruned = await prune({ store });
  assert.deepEqual(pruned, dry);
  assert.deepEqual([pruned.models, pruned.youngObjects], [2, 1]);
  const after = await store.keys();
  assert.equal(after.length, before.length - pruned.deletedObjects);
  assert.ok(after.includes('shards/notes.txt') && after.includes(shardKey('b'.repeat(64))));
  assert.ok(!after.includes(shardKey('a'.repeat(64))) && !after.includes(PRUNE_KEY));
  // Of 18 versions one fell out of the history, with its manifest and whatever shard it alone had.
  assert.equal(after.filter((key) => key.startsWith('manifests/')).length, MAX_HISTORY + 2);
  const { history } = (await readPointer(store, 'm'))!.pointer;
  assert.equal(history?.length, MAX_HISTORY);
  await rollback({ store, model: 'm', to: history![MAX_HISTORY - 1].manifest });
  await isWhole(store);
  await isWhole(store, 'other');
  assert.equal((await prune({ store, graceMs: 0 })).deletedObjects, 1);
});

/** A store with a model, and old shards of version 63 that nobody names. */
async function storeWithOrphans(): Promise<AgedStore> {
  const store = new AgedStore();
  await publish({ ...(await version(0)), store });
  for await (const { sha256, bytes } of (await version(63)).shards) await store.put(shardKey(sha256), bytes);
  store.age();
  return store;
}

test('a prune that ends before the pointer moves is noticed: the pointer stays, and the next publish sends again', async () => {
  const store = await storeWithOrphans();
  const head = store.head.bind(store);
  let pruned = false;
  // When the first orphan was found, and so not sent.
  store.head = async (key) => {
    const there = await head(key);
    if (!pruned && key.startsWith('shards/') && there !== undefined) {
      pruned = true;
      store.head = head;
      await prune({ store });
    }
    return there;
  };
  const before = (await readPointer(store, 'm'))?.pointer.manifest;
  await assert.rejects(publish({ ...(await version(63)), store }), (error) => {
    assert.ok(isEdgeDitError(error, 'object-missing'), String(error));
    return /was deleted while "m" was being published; publish it again/.test(error.message);
  });
  assert.equal((await readPointer(store, 'm'))?.pointer.manifest, before);
  await publish({ ...(await version(63)), store });
  await isWhole(store);
});

test('a prune that starts when the manifest is there spares what it names', async () => {
  const store = await storeWithOrphans();
  store.beforePointer = async () => {
    store.beforePointer = async () => {};
    assert.equal((await prune({ store })).deletedObjects, 0);
  };
  await publish({ ...(await version(63)), store });
  await isWhole(store);
});

test('a prune under way is waited for before the pointer moves', async () => {
  const store = await storeWithOrphans();
  let publishing: Promise<unknown> | undefined;
  store.beforeDelete = async () => {
    if (publishing !== undefined) return;
    // Everything is there when it looks; it must not believe that.
    publishing = publish({ ...(await version(63)), store }).catch((error: unknown) => error);
    await new Promise((wake) => setTimeout(wake, 300));
  };
  await prune({ store, leaseMs: 3000 });
  const outcome = await publishing;
  assert.ok(isEdgeDitError(outcome, 'object-missing'), String(outcome));
  await isWhole(store);
});

test('one prune at a time; of one that was killed, the next takes over', async () => {
  const store = new MemoryStore();
  const leaseMs = 900;
  const lease = await PruneLease.take(store, { leaseMs });
  await assert.rejects(PruneLease.take(store, { leaseMs }), /another prune runs; wait until it is done/);
  const waiting = whenNoPruneRuns(store, { leaseMs });
  let waited = false;
  waiting.then(() => {
    waited = true;
  });
  await new Promise((wake) => setTimeout(wake, 1.5 * leaseMs));
  assert.equal(waited, false);
  await lease.release();
  await waiting;
  assert.equal(await store.head(PRUNE_KEY), undefined);
  // Whoever wrote this writes no more.
  await store.put(PRUNE_KEY, new Uint8Array(1));
  const started = Date.now();
  await whenNoPruneRuns(store, { leaseMs });
  const next = await PruneLease.take(store, { leaseMs });
  assert.ok(Date.now() - started >= 2 * leaseMs);
  await next.hold(async (signal) => assert.equal(signal.aborted, false));
  // Taken over in turn, it stops and leaves the other's lease alone.
  const { etag } = await store.put(PRUNE_KEY, new Uint8Array(2));
  await new Promise((wake) => setTimeout(wake, leaseMs / 2));
  await assert.rejects(
    next.hold(async () => {}),
    /interrupted for too long to go on; prune again/,
  );
  await next.release();
  assert.equal((await store.head(PRUNE_KEY))?.etag, etag);
});

test('where a manifest that is in use cannot be read, nothing is deleted', async () => {
  const store = await storeWithOrphans();
  const { manifest } = (await readPointer(store, 'm'))!.pointer;
  await store.delete(manifestKey(manifest));
  store.age();
  const before = await store.keys();
  await assert.rejects(prune({ store }), (error) => isEdgeDitError(error, 'object-missing'));
  assert.deepEqual(await store.keys(), before);
});
