/** Endpoints that pin keys: what another key signed is not served, on any target. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { bundleCloudflareWorker, serveWorkerd, WORKERD_COMPATIBILITY } from '@edge-dit/functions/serve-workerd';
import { targets } from '@edge-dit/functions/targets/index';
import { MemoryStore } from '@edge-dit/runtime/stores/memory';
import { Miniflare } from 'miniflare';
import { publish } from './publish/publish.ts';
import { VersionedModels } from './testing/versioned-models.ts';
import { generateKeyPem, openSigningKey } from './trust/signing-key.ts';

const key = await openSigningKey(await generateKeyPem(), 'the key');
const store = new MemoryStore();
const models = await VersionedModels.make();
const { manifest } = await publish({ ...(await models.version('m', 1)), store, sign: { key } });
await publish({ ...(await models.version('unsigned', 1)), store });

test('each target serves what is signed by a pinned key, and says why it does not serve the rest', async () => {
  const trust = { keys: [key.publicKey], minimumSequence: { m: manifest.signature!.sequence } };
  for (const target of targets) {
    const served = await target.serve({ store, models: ['m', 'unsigned'], trust });
    try {
      const [good, bad] = (await (await fetch(`${served.url}/models`)).json()).models;
      assert.equal(good.id, 'm', target.name);
      assert.equal(good.problem, undefined, JSON.stringify(good));
      assert.match(bad.problem.detail, /not signed; sign it with a trusted key/, target.name);
      const response = await fetch(`${served.url}/generate`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ class: 1, seed: 1, steps: 1, model: 'unsigned' }),
      });
      assert.equal(response.status, 502);
      assert.match((await response.json()).type, /manifest-untrusted/);
    } finally {
      await served.close();
    }
  }
});

test('an older version than the pinned one is not served', async () => {
  const trust = { keys: [key.publicKey], minimumSequence: { m: manifest.signature!.sequence + 1 } };
  const served = await serveWorkerd({ store, models: ['m'], trust });
  try {
    const [{ problem }] = (await (await fetch(`${served.url}/models`)).json()).models;
    assert.match(problem.detail, /an old version, sequence \d+ where \d+ is the least/);
  } finally {
    await served.close();
  }
});

test('a worker whose policy cannot be read serves nothing', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'edge-dit-trust-'));
  const { modules } = await bundleCloudflareWorker(folder);
  const bindings = { MODELS: 'm', SHARDS_URL: 'http://127.0.0.1:9', TRUST: '{"key": []}' };
  const worker = new Miniflare({ ...WORKERD_COMPATIBILITY, modules: [...modules], modulesRoot: '.', bindings });
  try {
    const response = await worker.dispatchFetch('http://worker/models');
    assert.equal(response.status, 500);
    assert.match(await response.text(), /trust policy: .*write for example/);
  } finally {
    await worker.dispose();
    await rm(folder, { recursive: true });
  }
});
