/** Copies between stores, and going back to versions of before. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isEdgeDitError } from '@edge-dit/runtime/errors';
import { shardKey } from '@edge-dit/runtime/format/keys';
import { loadManifest, readPointer } from '@edge-dit/runtime/load-manifest';
import { MemoryStore } from '@edge-dit/runtime/stores/memory';
import { VersionedModels } from '../testing/versioned-models.ts';
import { generateKeyPem, openSigningKey } from '../trust/signing-key.ts';
import { verifyModel } from '../verify-model.ts';
import { copyModel } from './copy-model.ts';
import { publish } from './publish.ts';
import { rollback } from './rollback.ts';

const models = await VersionedModels.make();
const key = await openSigningKey(await generateKeyPem(), 'the key');
const trust = { keys: [key.publicKey] };

async function published(...versions: number[]): Promise<MemoryStore> {
  const store = new MemoryStore();
  for (const version of versions) await publish({ ...(await models.version('m', version)), store, sign: { key } });
  return store;
}

test('a copy has the digest of its original; what is there is neither sent nor read', async () => {
  const from = await published(0);
  const to = new MemoryStore();
  const dry = await copyModel({ from, store: to, model: 'm', dryRun: true });
  assert.equal(await to.head('models/m.json'), undefined);
  const first = await copyModel({ from, store: to, model: 'm', trust });
  assert.deepEqual(dry, first);
  assert.equal(first.digest, (await loadManifest(from, 'm')).digest);
  assert.equal(first.skippedObjects, 0);
  assert.deepEqual((await verifyModel(to, 'm', { trust })).damage, []);
  await publish({ ...(await models.version('m', 1)), store: from, sign: { key } });
  const read: string[] = [];
  const get = from.get.bind(from);
  from.get = async (name, options) => {
    read.push(name);
    return get(name, options);
  };
  const second = await copyModel({ from, store: to, model: 'm' });
  assert.deepEqual([second.pointer, second.sentObjects], ['updated', 2], 'the shard of version 1, and the manifest');
  assert.equal(read.filter((name) => name.startsWith('shards/')).length, 1);
});

test('what is damaged or not trusted is not copied', async () => {
  const from = await published(0);
  const to = new MemoryStore();
  const { manifest } = await loadManifest(from, 'm');
  await assert.rejects(copyModel({ from, store: to, model: 'm', trust: { keys: [] } }), (error) =>
    isEdgeDitError(error, 'manifest-untrusted'),
  );
  const damaged = shardKey(manifest.shards[2].sha256);
  await from.put(damaged, new Uint8Array(manifest.shards[2].length));
  await assert.rejects(copyModel({ from, store: to, model: 'm' }), (error) => isEdgeDitError(error, 'digest-mismatch'));
  assert.deepEqual([await to.head(damaged), await to.head('models/m.json')], [undefined, undefined]);
});

test('rolling back puts an earlier version in place, undoes itself, and signs anew when asked', async () => {
  const store = await published(0, 1, 2);
  const digests = async () => {
    const { manifest, history = [] } = (await readPointer(store, 'm'))!.pointer;
    return [manifest, ...history.map((version) => version.manifest)];
  };
  const [two, one, zero] = await digests();
  assert.equal((await rollback({ store, model: 'm' })).digest, one);
  assert.deepEqual(await digests(), [one, two, zero]);
  await rollback({ store, model: 'm' });
  assert.deepEqual(await digests(), [two, one, zero]);
  await rollback({ store, model: 'm', to: zero.slice(0, 10) });
  assert.deepEqual(await digests(), [zero, two, one]);
  const latest = (await loadManifest(store, 'm')).manifest.signature!.sequence;
  const signed = await rollback({ store, model: 'm', to: one, sign: { key } });
  assert.ok(signed.manifest.signature!.sequence > latest);
  assert.equal(signed.manifest['x-version'], 1);
  assert.equal(signed.replaced.manifest, zero);
});

test('a version that is not known or not whole is not gone back to', async () => {
  const store = await published(0, 63);
  await assert.rejects(
    rollback({ store, model: 'm', to: 'zz' }),
    /none begins with "zz"\. It has:\n {2}[0-9a-f]{64} 20/,
  );
  await assert.rejects(rollback({ store, model: 'none' }), (error) => isEdgeDitError(error, 'model-not-found'));
  const alone = await published(0);
  await assert.rejects(rollback({ store: alone, model: 'm' }), /there is none/);
  const [{ sha256 }] = (await models.version('m', 0)).manifest.shards;
  await store.delete(shardKey(sha256));
  await assert.rejects(rollback({ store, model: 'm' }), (error) => isEdgeDitError(error, 'object-missing'));
  assert.equal((await loadManifest(store, 'm')).manifest['x-version'], 63);
});
