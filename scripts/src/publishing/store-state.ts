/** What must hold of a store at any time: every pointer leads to a whole, trusted model; and after a prune, nothing else is there. */
import assert from 'node:assert/strict';
import { manifestKey, pointerKey, shardKey } from '@edge-dit/runtime/format/keys';
import { listModels, loadVersion, readPointer } from '@edge-dit/runtime/load-manifest';
import type { WritableStore } from '@edge-dit/runtime/stores/store';
import type { TrustPolicy } from '@edge-dit/runtime/trust';
import { verifyModel } from '@edge-dit/sdk/verify-model';

/** The digest of each model's manifest, after all of them were read and verified. */
export async function verifyAll(store: WritableStore, trust: TrustPolicy): Promise<Map<string, string>> {
  const digests = new Map<string, string>();
  for await (const model of listModels(store)) {
    const { damage, digest } = await verifyModel(store, model, { trust });
    assert.deepEqual(damage, [], `${model} is damaged`);
    digests.set(model, digest!);
  }
  return digests;
}

/** Compares all keys of the store with those that its pointers and their histories name. */
export async function assertNoOrphans(store: WritableStore): Promise<void> {
  const named = new Set<string>();
  for await (const model of listModels(store)) {
    named.add(pointerKey(model));
    const { history = [], ...current } = (await readPointer(store, model))!.pointer;
    for (const version of [current, ...history]) {
      const { manifest } = await loadVersion(store, model, version);
      named.add(manifestKey(version.manifest));
      for (const { sha256 } of manifest.shards) named.add(shardKey(sha256));
      for (const { sha256 } of manifest.files.flatMap(({ parts }) => parts)) named.add(shardKey(sha256));
    }
  }
  const there: string[] = [];
  for await (const { key } of store.list('')) there.push(key);
  assert.deepEqual(there.sort(), [...named].sort(), 'what is there is what is named');
}
