import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { isEdgeDitError } from '@edge-dit/runtime/errors';
import { manifestKey, shardKey } from '@edge-dit/runtime/format/keys';
import type { Manifest } from '@edge-dit/runtime/format/manifest';
import { MemoryStore } from '@edge-dit/runtime/stores/memory';
import type { Store } from '@edge-dit/runtime/stores/store';
import { openCheckpoint } from './checkpoint/checkpoint.ts';
import { makeTinyPipeline } from './cli/testing/tiny-pipeline.ts';
import { describeModel } from './describe-model.ts';
import { publish } from './publish/publish.ts';
import { quantize } from './quantize/quantize.ts';
import { recipeByName } from './recipes/index.ts';
import { verifyModel } from './verify-model.ts';

const root = await mkdtemp(join(tmpdir(), 'edge-dit-verify-'));
after(() => rm(root, { recursive: true }));
const checkpoint = await openCheckpoint(await makeTinyPipeline(root, 'dit'));
after(() => checkpoint.close());

async function published(): Promise<{ store: MemoryStore; manifest: Manifest; digest: string }> {
  const store = new MemoryStore();
  return { store, ...(await quantize({ checkpoint, recipe: recipeByName('w4a8'), model: 'm', store })) };
}

async function bytesOf(store: Store, key: string): Promise<Uint8Array> {
  const object = await store.get(key);
  return new Uint8Array(await new Response(object!.body).arrayBuffer());
}

async function damage(store: MemoryStore, key: string): Promise<void> {
  const bytes = (await bytesOf(store, key)).slice();
  bytes[bytes.length >> 1] ^= 1;
  await store.put(key, bytes);
}

test('a whole model: every object is read, and nothing found', async () => {
  const { store, manifest, digest } = await published();
  const seen: number[] = [];
  const report = await verifyModel(store, 'm', { onObject: (done) => seen.push(done) });
  const { totalBytes } = describeModel(manifest, digest);
  assert.deepEqual(report, { model: 'm', digest, objects: manifest.shards.length + 1, bytes: totalBytes, damage: [] });
  assert.deepEqual(
    seen,
    seen.map((_, i) => i),
  );
});

test('damage is found object by object, in the order of the manifest', async () => {
  const { store, manifest } = await published();
  const [file] = manifest.files;
  await damage(store, shardKey(file.parts[0].sha256));
  await store.delete(shardKey(manifest.shards[0].sha256));
  const report = await verifyModel(store, 'm');
  assert.deepEqual(
    report.damage.map(({ object, code }) => [object, code]),
    [
      ['shard 0', 'object-missing'],
      ['file vae-decoder.onnx, part 1 of 1', 'digest-mismatch'],
    ],
  );
});

test('a damaged manifest is damage, a model that is not there is an error', async () => {
  const { store, digest } = await published();
  await damage(store, manifestKey(digest));
  const report = await verifyModel(store, 'm');
  assert.deepEqual([report.damage[0].object, report.damage[0].code], ['manifest', 'digest-mismatch']);
  await assert.rejects(verifyModel(store, 'n'), (error) => isEdgeDitError(error, 'model-not-found'));
  const signal = AbortSignal.abort();
  await assert.rejects(verifyModel(store, 'm', { signal }), (error) => isEdgeDitError(error, 'aborted'));
});

test('whole objects of a model that cannot run: tensors that are missing, misnamed or of another shape', async () => {
  const { store, manifest } = await published();
  const again = async (changed: Manifest) => {
    const shards = await Promise.all(
      changed.shards.map(async ({ sha256 }) => ({ sha256, bytes: await bytesOf(store, shardKey(sha256)) })),
    );
    const files = await Promise.all(
      changed.files.map(async ({ name, parts }) => ({ name, bytes: await bytesOf(store, shardKey(parts[0].sha256)) })),
    );
    await publish({ store, model: 'm', manifest: changed, shards, files });
    return (await verifyModel(store, 'm')).damage.map(({ object, message }) => `${object}: ${message}`);
  };
  const [first, ...others] = manifest.tensors;
  const renamed = await again({ ...manifest, tensors: [{ ...first, name: 'nobody' }, ...others] });
  assert.match(renamed.join(), /^tensor nobody: .*not one of this architecture's/);
  const square = manifest.tensors.map((tensor) =>
    tensor.shape.length === 2 && tensor.encoding === 'f16' ? { ...tensor, shape: [...tensor.shape].reverse() } : tensor,
  );
  assert.match((await again({ ...manifest, tensors: square })).join(), /^tensor .*: tensor .* has shape \[/);
  const deeper = await again({ ...manifest, config: { ...manifest.config, num_layers: 3 } });
  assert.match(deeper.join(), /^architecture: the model lacks transformer_blocks\.2\./);
  const foreign = await again({ ...manifest, architecture: 'Flux' });
  assert.match(foreign.join(), /^architecture: unknown architecture "Flux"/);
});
