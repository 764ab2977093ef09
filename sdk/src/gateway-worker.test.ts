/** The gateway as a worker, as it is built, in workerd: over R2, and over another gateway. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { createGateway } from '@edge-dit/functions/gateway/gateway';
import { listen } from '@edge-dit/functions/listen';
import { bundleCloudflareGateway, WORKERD_COMPATIBILITY } from '@edge-dit/functions/serve-workerd';
import { fetchShards } from '@edge-dit/runtime/fetch-model';
import { shardKey } from '@edge-dit/runtime/format/keys';
import { loadManifest } from '@edge-dit/runtime/load-manifest';
import { HttpStore } from '@edge-dit/runtime/stores/http';
import { MemoryStore } from '@edge-dit/runtime/stores/memory';
import { type R2BucketLike, R2Store } from '@edge-dit/runtime/stores/r2';
import { Miniflare, type MiniflareOptions } from 'miniflare';
import { putModel, type RandomModel, randomModel } from './testing/random-model.ts';

/** It computes nothing, so it is to stay small. */
const GZIP_BYTES = 45_000;

const outdir = await mkdtemp(join(tmpdir(), 'edge-dit-gateway-'));
const { modules } = await bundleCloudflareGateway(outdir);
const running: Miniflare[] = [];
after(async () => {
  for (const miniflare of running) await miniflare.dispose();
  await rm(outdir, { recursive: true });
});
let model: RandomModel;
before(async () => {
  model = await randomModel({ model: 'a', seed: 1 });
});

async function start(bindings: Record<string, string>, more: Partial<MiniflareOptions> = {}) {
  const settings = { ...WORKERD_COMPATIBILITY, modules: [...modules], modulesRoot: '.', bindings, ...more };
  const miniflare = new Miniflare(settings as MiniflareOptions);
  running.push(miniflare);
  return { miniflare, url: (await miniflare.ready).origin };
}

async function load(url: string): Promise<void> {
  const client = new HttpStore(url);
  const { manifest, digest } = await loadManifest(client, 'a');
  assert.equal(digest, model.digest);
  for await (const { shard, release } of fetchShards(client, manifest)) {
    assert.deepEqual(shard.bytes, model.objects.get(shardKey(shard.sha256)));
    release();
  }
}

test('the worker is small', (t) => {
  const total = modules.reduce((sum, { gzipBytes }) => sum + gzipBytes, 0);
  t.diagnostic(`${total} bytes gzip`);
  assert.ok(total <= GZIP_BYTES, `${total} bytes; find what came in (esbuild's metafile), and leave it out`);
});

test('a model is loaded from R2 through it, in parts too', async () => {
  const { miniflare, url } = await start(
    { MODELS: 'a', CORS_ORIGINS: 'https://page.example' },
    { r2Buckets: ['SHARDS'] },
  );
  const bucket = new R2Store((await miniflare.getR2Bucket('SHARDS')) as unknown as R2BucketLike);
  await putModel(bucket, model);
  await load(url);
  const [{ sha256 }] = model.manifest.shards;
  const headers = { range: 'bytes=10-19', origin: 'https://page.example' };
  const part = await fetch(`${url}/shards/${sha256}`, { headers });
  assert.equal(part.status, 206);
  assert.equal(part.headers.get('access-control-allow-origin'), 'https://page.example');
  const expected = model.objects.get(shardKey(sha256))!.subarray(10, 20);
  assert.deepEqual(new Uint8Array(await part.arrayBuffer()), expected);
  // Nothing of it is needed any more: it is in the Cache API.
  await bucket.delete(shardKey(sha256));
  const head = await fetch(`${url}/shards/${sha256}`, { method: 'HEAD' });
  assert.equal(head.status, 200);
});

test('and through it from another gateway', async () => {
  const memory = new MemoryStore();
  await putModel(memory, model);
  const origin = await listen(createGateway({ store: memory, models: ['a'] }).fetch);
  try {
    await load((await start({ MODELS: 'a', SHARDS_URL: origin.url })).url);
  } finally {
    await origin.close();
  }
});

test('what is not configured is said', async () => {
  for (const bindings of [{ MODELS: 'a' }, { SHARDS_URL: 'https://x.invalid' }] as Record<string, string>[]) {
    const response = await fetch((await start(bindings)).url);
    assert.equal(response.status, 500);
    assert.match(await response.text(), /the gateway needs MODELS, and one store/);
  }
});
