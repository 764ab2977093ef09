/** Publishing the model of the fixtures to every kind of store, and reading it back. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { after, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';
import { isEdgeDitError } from '@edge-dit/runtime/errors';
import { fetchFile, fetchShards } from '@edge-dit/runtime/fetch-model';
import { shardKey } from '@edge-dit/runtime/format/keys';
import type { Manifest } from '@edge-dit/runtime/format/manifest';
import { loadManifest } from '@edge-dit/runtime/load-manifest';
import { FsStore } from '@edge-dit/runtime/stores/fs';
import { HttpStore } from '@edge-dit/runtime/stores/http';
import { MemoryStore } from '@edge-dit/runtime/stores/memory';
import type { WritableStore } from '@edge-dit/runtime/stores/store';
import { openWritableStore } from '../stores.ts';
import { publish } from './publish.ts';

const fixture = new FsStore(fileURLToPath(new URL('../../../runtime/fixtures/format-v1', import.meta.url)));
const endpoint = process.env.S3_ENDPOINT;
const skipS3 =
  endpoint === undefined
    ? 'no S3 server: run scripts/s3-ceph.sh start, evaluate what it prints, and test again'
    : undefined;

interface Model {
  manifest: Manifest;
  shards: { sha256: string; bytes: Uint8Array }[];
  files: { name: string; bytes: Uint8Array }[];
}

async function read(store: Parameters<typeof loadManifest>[0], name: string): Promise<Model> {
  const { manifest } = await loadManifest(store, name);
  const shards = [];
  for await (const { shard } of fetchShards(store, manifest)) shards.push({ sha256: shard.sha256, bytes: shard.bytes });
  const files = [];
  for (const file of manifest.files) files.push({ name: file.name, bytes: (await fetchFile(store, file)).bytes });
  return { manifest, shards, files };
}

const model = await read(fixture, 'tiny');
const folder = await mkdtemp(`${tmpdir()}/edge-dit-publish-`);
after(() => rm(folder, { recursive: true }));

async function s3(env: Record<string, string> = {}): Promise<WritableStore> {
  const bucket = `publish-${process.pid}-${Date.now()}`;
  await new S3Client({ endpoint, forcePathStyle: true, region: 'us-east-1' }).send(
    new CreateBucketCommand({ Bucket: bucket }),
  );
  return openWritableStore(`s3://${bucket}/models`, { ...process.env, ...env });
}

const stores: { name: string; open: () => Promise<WritableStore>; skip?: string }[] = [
  { name: 'memory', open: async () => new MemoryStore() },
  { name: 'folder', open: async () => openWritableStore(folder) },
  { name: 's3', open: () => s3(), skip: skipS3 },
];

for (const { name, open, skip } of stores) {
  describe(`publish to ${name}`, { skip }, () => {
    let store: WritableStore;

    test('what was published loads again, byte for byte', async () => {
      store = await open();
      const seen: string[] = [];
      const first = await publish({ store, model: 'tiny', ...model, onProgress: ({ key }) => seen.push(key) });
      assert.deepEqual(
        { ...first, digest: '', manifest: undefined },
        {
          manifest: undefined,
          sentObjects: 4,
          sentBytes: 2302,
          skippedObjects: 0,
          skippedBytes: 0,
          pointer: 'created',
          digest: '',
        },
      );
      assert.equal(seen.length, 4);
      assert.equal(seen[3], `manifests/${first.digest}.json`);
      assert.deepEqual(await read(store, 'tiny'), model);
      assert.equal((await loadManifest(store, 'tiny')).digest, first.digest);
    });

    test('publishing again sends nothing', async () => {
      const puts: string[] = [];
      const watched = {
        name: store.name,
        get: store.get.bind(store),
        head: store.head.bind(store),
        list: store.list.bind(store),
        delete: store.delete.bind(store),
        put: async (key: string, ...rest: [Uint8Array]) => {
          puts.push(key);
          return store.put(key, ...rest);
        },
      };
      const again = await publish({ model: 'tiny', store: watched, ...model });
      assert.deepEqual(
        { ...again, digest: '', manifest: undefined },
        {
          manifest: undefined,
          sentObjects: 0,
          sentBytes: 0,
          skippedObjects: 4,
          skippedBytes: 2302,
          pointer: 'unchanged',
          digest: '',
        },
      );
      assert.deepEqual(puts, []);
    });

    test('another version sends its manifest and moves the pointer', async () => {
      const manifest = { ...model.manifest, license: 'MIT' };
      const changed = await publish({ store, model: 'tiny', ...model, manifest: () => manifest });
      assert.equal(changed.pointer, 'updated');
      assert.equal(changed.sentObjects, 1);
      assert.equal((await loadManifest(store, 'tiny')).manifest.license, 'MIT');
    });

    test('an object of the wrong size is replaced', async () => {
      const [{ sha256, bytes }] = model.shards;
      await store.put(shardKey(sha256), bytes.subarray(1));
      const healed = await publish({ store, model: 'tiny', ...model });
      assert.equal(healed.sentBytes, bytes.length);
      assert.deepEqual(await read(store, 'tiny'), model);
    });

    test('somebody else who publishes in between is noticed', async () => {
      const racing = {
        name: store.name,
        get: store.get.bind(store),
        head: store.head.bind(store),
        list: store.list.bind(store),
        delete: store.delete.bind(store),
        put: async (...[key, bytes, options]: Parameters<WritableStore['put']>) => {
          if (key.startsWith('models/')) await store.put(key, new TextEncoder().encode('{"theirs":1}'));
          return store.put(key, bytes, options);
        },
      };
      const manifest = { ...model.manifest, license: 'other' };
      await assert.rejects(publish({ model: 'tiny', store: racing, ...model, manifest }), (error) => {
        assert.ok(isEdgeDitError(error, 'precondition-failed'));
        assert.match(error.message, /somebody else published "tiny" at the same time/);
        return true;
      });
    });
  });
}

test('wrong credentials are store-denied', { skip: skipS3 }, async () => {
  const store = await s3({ AWS_SECRET_ACCESS_KEY: 'wrong' });
  await assert.rejects(publish({ store, model: 'tiny', ...model }), (error) => {
    assert.ok(isEdgeDitError(error, 'store-denied'), String(error));
    assert.match(error.message, /check the credentials/);
    assert.ok(!error.message.includes('wrong'));
    return true;
  });
});

test('a manifest without its bytes, or bytes that it does not name, are not published', async () => {
  const store = new MemoryStore();
  const refused = (change: Partial<Model>, message: RegExp) =>
    assert.rejects(
      publish({ store, model: 'tiny', ...model, ...change }),
      (error) => isEdgeDitError(error) && message.test(error.message),
    );
  await refused({ shards: model.shards.slice(1) }, /shard 73a2.* of 320 bytes is in the manifest but was not given/);
  await refused({ files: [] }, /file tokenizer\.json .* was not given/);
  await refused({ files: [{ name: 'tokenizer.json', bytes: new Uint8Array(34) }] }, /file tokenizer\.json/);
  await refused(
    { files: [...model.files, { name: 'b', bytes: new Uint8Array(1) }] },
    /2 files were given, the manifest has 1/,
  );
  const wrong = [{ ...model.shards[0], bytes: new Uint8Array(320) }, model.shards[1]];
  await refused({ shards: wrong }, /SHA-256 is .* expected 73a2/);
  assert.equal(await store.head('models/tiny.json'), undefined);
  const signal = AbortSignal.abort();
  await assert.rejects(publish({ store, model: 'tiny', ...model, signal }), (error) =>
    isEdgeDitError(error, 'aborted'),
  );
});

test('a published folder is served by any web server', async () => {
  const source = new FsStore(fileURLToPath(new URL('../../../runtime/fixtures/format-v1', import.meta.url)));
  const server = createServer(async (request, response) => {
    const object = await source.get((request.url ?? '').slice('/cdn/'.length)).catch(() => undefined);
    if (object === undefined) return void response.writeHead(404).end();
    for await (const chunk of object.body) response.write(chunk);
    response.end();
  });
  await new Promise<void>((ready) => server.listen(0, '127.0.0.1', ready));
  try {
    const store = new HttpStore(`http://127.0.0.1:${(server.address() as AddressInfo).port}/cdn`);
    assert.deepEqual(await read(store, 'tiny'), model);
  } finally {
    server.closeAllConnections();
    server.close();
  }
});
