/** The example as it is started, and a client of it. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { fetchShards } from '@edge-dit/runtime/fetch-model';
import { loadManifest } from '@edge-dit/runtime/load-manifest';
import { FsStore } from '@edge-dit/runtime/stores/fs';
import { HttpStore } from '@edge-dit/runtime/stores/http';
import { putModel, randomModel } from '@edge-dit/sdk/testing/random-model';

test('a model in a folder is loaded through the gateway, by pages of any origin', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'edge-dit-gateway-'));
  await putModel(new FsStore(folder), await randomModel({ model: 'm', seed: 1 }));
  const entry = fileURLToPath(new URL('serve.js', import.meta.url));
  const server = spawn(process.execPath, [entry, '--store', folder, '--model', 'm', '--port', '0']);
  try {
    const [said] = (await once(server.stdout, 'data')) as [Buffer];
    const url = /http:\S+\d/.exec(String(said))![0];
    const store = new HttpStore(url);
    const { manifest } = await loadManifest(store, 'm');
    let shards = 0;
    for await (const { release } of fetchShards(store, manifest)) {
      shards++;
      release();
    }
    assert.equal(shards, manifest.shards.length);
    const response = await fetch(`${url}/models/m.json`, { headers: { origin: 'https://page.example' } });
    assert.equal(response.headers.get('access-control-allow-origin'), '*');
  } finally {
    server.kill();
    await once(server, 'exit');
    await rm(folder, { recursive: true });
  }
});
