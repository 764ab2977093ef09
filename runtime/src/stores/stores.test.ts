/** What every writable store must do, run over all of them; R2 in miniflare, S3 where a server is given. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';
import { Miniflare } from 'miniflare';
import { isEdgeDitError } from '../errors.ts';
import { FsStore } from './fs.ts';
import { MemoryStore } from './memory.ts';
import { type R2BucketLike, R2Store } from './r2.ts';
import { S3Store } from './s3.ts';
import type { StoredObject, WritableStore } from './store.ts';

const endpoint = process.env.S3_ENDPOINT;
const skipS3 =
  endpoint === undefined
    ? 'no S3 server: run scripts/s3-ceph.sh start, evaluate what it prints, and test again'
    : undefined;

const cleanups: (() => Promise<unknown>)[] = [];
after(async () => {
  for (const cleanup of cleanups) await cleanup();
});

async function openFs(): Promise<WritableStore> {
  const root = await mkdtemp(join(tmpdir(), 'edge-dit-store-'));
  cleanups.push(() => rm(root, { recursive: true }));
  return new FsStore(join(root, 'made', 'on', 'demand'));
}

async function openR2(): Promise<WritableStore> {
  const miniflare = new Miniflare({ modules: true, script: 'export default {}', r2Buckets: ['BUCKET'] });
  cleanups.push(() => miniflare.dispose());
  return new R2Store((await miniflare.getR2Bucket('BUCKET')) as unknown as R2BucketLike, 'BUCKET');
}

async function openS3(): Promise<WritableStore> {
  const client = new S3Client({ endpoint, forcePathStyle: true, region: 'us-east-1' });
  const bucket = `stores-${process.pid}-${Date.now()}`;
  await client.send(new CreateBucketCommand({ Bucket: bucket }));
  return new S3Store({ bucket, prefix: 'some/folder', endpoint });
}

const members: { name: string; open: () => Promise<WritableStore>; skip?: string }[] = [
  { name: 'memory', open: async () => new MemoryStore() },
  { name: 'fs', open: openFs },
  { name: 'r2', open: openR2 },
  { name: 's3', open: openS3, skip: skipS3 },
];

const bytesOf = async (object: StoredObject | undefined) =>
  object && new Uint8Array(await new Response(object.body as ReadableStream<Uint8Array<ArrayBuffer>>).arrayBuffer());
const utf8 = (text: string) => new TextEncoder().encode(text);
const hasCode = (code: Parameters<typeof isEdgeDitError>[1]) => (error: unknown) => {
  assert.ok(isEdgeDitError(error, code), `expected ${code}, got ${error}`);
  return true;
};

for (const { name, open, skip } of members) {
  describe(`store ${name}`, { skip }, () => {
    let store: WritableStore;
    test('opens', async () => {
      store = await open();
    });

    test('gives back what was put, whole and in ranges', async () => {
      const bytes = Uint8Array.from({ length: 700_001 }, (_, i) => (i * 31) & 255);
      const { etag } = await store.put('shards/a', bytes, { immutable: true });
      const whole = await store.get('shards/a');
      assert.equal(whole?.size, bytes.length);
      assert.equal(whole?.etag, etag);
      assert.deepEqual(await bytesOf(whole), bytes);
      const range = await store.get('shards/a', { range: { offset: 300_000, length: 5 } });
      assert.equal(range?.size, 5);
      assert.deepEqual(await bytesOf(range), bytes.subarray(300_000, 300_005));
      const rest = await store.get('shards/a', { range: { offset: 700_000 } });
      assert.equal(rest?.size, 1);
      assert.deepEqual(await bytesOf(rest), bytes.subarray(700_000));
      assert.deepEqual(await store.head('shards/a'), { size: bytes.length, etag });
    });

    test('does not share memory with its caller', async () => {
      const bytes = utf8('before');
      await store.put('own', bytes);
      bytes.fill(0);
      assert.deepEqual(await bytesOf(await store.get('own')), utf8('before'));
    });

    test('says undefined of what is not there', async () => {
      assert.equal(await store.get('shards/none'), undefined);
      assert.equal(await store.head('shards/none'), undefined);
      await store.delete('shards/none');
    });

    test('replaces, and the etag changes', async () => {
      const first = await store.put('pointer.json', utf8('1'));
      const second = await store.put('pointer.json', utf8('2'));
      assert.notEqual(first.etag, second.etag);
      assert.deepEqual(await bytesOf(await store.get('pointer.json')), utf8('2'));
    });

    test('ifNoneMatch writes once', async () => {
      await store.put('once', utf8('first'), { ifNoneMatch: '*' });
      await assert.rejects(store.put('once', utf8('second'), { ifNoneMatch: '*' }), hasCode('precondition-failed'));
      assert.deepEqual(await bytesOf(await store.get('once')), utf8('first'));
    });

    test('ifMatch lets one of two writers through', async () => {
      const { etag } = await store.put('models/m.json', utf8('0'));
      const results = await Promise.allSettled(
        ['1', '2'].map((text) => store.put('models/m.json', utf8(text), { ifMatch: etag })),
      );
      const lost = results.filter((result) => result.status === 'rejected');
      assert.equal(lost.length, 1);
      hasCode('precondition-failed')(lost[0].reason);
      await assert.rejects(store.put('models/m.json', utf8('3'), { ifMatch: etag }), hasCode('precondition-failed'));
      await assert.rejects(store.put('models/none.json', utf8('3'), { ifMatch: etag }), hasCode('precondition-failed'));
      assert.equal(await store.head('models/none.json'), undefined);
    });

    test('lists by prefix and deletes', async () => {
      for (const key of ['list/b', 'list/a/x', 'list/a/y', 'listing']) await store.put(key, utf8(key));
      const under = async (prefix: string) => {
        const keys: string[] = [];
        for await (const { key, size, etag, modified } of store.list(prefix)) {
          assert.equal(size, key.length);
          assert.equal(etag, (await store.head(key))?.etag);
          assert.ok(Math.abs(modified.getTime() - Date.now()) < 3_600_000);
          keys.push(key);
        }
        return keys.sort();
      };
      assert.deepEqual(await under('list/'), ['list/a/x', 'list/a/y', 'list/b']);
      assert.deepEqual(await under('list/a'), ['list/a/x', 'list/a/y']);
      await store.delete('list/a/x');
      assert.deepEqual(await under('list/'), ['list/a/y', 'list/b']);
      assert.deepEqual(await under('nothing/'), []);
      const all: string[] = [];
      for await (const { key } of store.list('')) all.push(key);
      assert.ok(all.includes('listing') && all.includes('shards/a'));
      assert.ok(all.every((key) => !key.startsWith('.')));
    });

    test('refuses keys that are not keys', async () => {
      for (const key of [
        '',
        '/',
        '../x',
        'a/../b',
        'a//b',
        '.hidden',
        'a/',
        '/etc/passwd',
        'a\\b',
        'a\0',
        'a?b',
        'é',
        'a'.repeat(600),
      ]) {
        await assert.rejects(store.get(key), hasCode('invalid-argument'), key);
        await assert.rejects(store.put(key, utf8('x')), hasCode('invalid-argument'), key);
        await assert.rejects(store.delete(key), hasCode('invalid-argument'), key);
      }
    });

    test('stops before work when aborted', async () => {
      const signal = AbortSignal.abort();
      await assert.rejects(store.get('own', { signal }), hasCode('aborted'));
      await assert.rejects(store.put('late', utf8('x'), { signal }), hasCode('aborted'));
      assert.equal(await store.head('late'), undefined);
    });
  });
}

test('fs leaves no drafts and no locks behind, and names a lock that nobody gives back', {
  timeout: 20_000,
}, async () => {
  const root = await mkdtemp(join(tmpdir(), 'edge-dit-store-'));
  cleanups.push(() => rm(root, { recursive: true }));
  const store = new FsStore(root);
  await store.put('a/b', utf8('1'));
  await assert.rejects(store.put('a/b', utf8('2'), { ifNoneMatch: '*' }), hasCode('precondition-failed'));
  assert.deepEqual(await readdir(join(root, '.edge-dit', 'drafts')), []);
  assert.deepEqual(await readdir(join(root, '.edge-dit', 'locks')), []);
  // Of another machine: nobody here knows whether its process lives.
  await writeFile(join(root, '.edge-dit', 'locks', 'a~b'), '1 1 elsewhere');
  await assert.rejects(store.put('a/b', utf8('3')), /a\/b is locked by another process.*delete .*a~b/);
  assert.deepEqual(await readdir(join(root, '.edge-dit', 'drafts')), []);
});

test('fs breaks the lock of a process that died, and prune removes its drafts', async () => {
  const root = await mkdtemp(join(tmpdir(), 'edge-dit-store-'));
  cleanups.push(() => rm(root, { recursive: true }));
  const store = new FsStore(root);
  const { etag } = await store.put('a/b', utf8('1'));
  const dead = spawnSync(process.execPath, ['-e', '']).pid;
  for (const pid of [dead, process.pid]) {
    // Our own number, with another's random part, is that of a process before us.
    await writeFile(join(root, '.edge-dit', 'locks', 'a~b'), `${pid} of-another ${hostname()}`);
    await writeFile(join(root, '.edge-dit', 'drafts', `${pid}.draft`), 'half');
    const writes = ['2', '3', '4'].map((text) => store.put('a/b', utf8(text)));
    await Promise.all(writes);
  }
  assert.deepEqual(await readdir(join(root, '.edge-dit', 'locks')), []);
  await assert.rejects(store.put('a/b', utf8('5'), { ifMatch: etag }), hasCode('precondition-failed'));
  assert.equal(await store.sweep(new Date(Date.now() - 60_000)), 0);
  assert.equal(await store.sweep(new Date(Date.now() + 60_000)), 8);
  assert.deepEqual(await readdir(join(root, '.edge-dit', 'drafts')), []);
});

describe('s3 errors', { skip: skipS3 }, () => {
  test('a wrong key is store-denied, a bucket that is not there says so', async () => {
    const wrong = new S3Store({
      bucket: 'any',
      endpoint,
      credentials: { accessKeyId: process.env.AWS_ACCESS_KEY_ID ?? 'a', secretAccessKey: 'not-the-secret' },
    });
    await assert.rejects(wrong.get('shards/a'), hasCode('store-denied'));
    await assert.rejects(wrong.put('shards/a', utf8('x')), hasCode('store-denied'));
    await assert.rejects(wrong.head('shards/a'), hasCode('store-denied'));
    const absent = new S3Store({ bucket: 'no-such-bucket-here', endpoint });
    await assert.rejects(absent.get('shards/a'), /bucket "no-such-bucket-here" does not exist/);
    await assert.rejects(absent.put('shards/a', utf8('x')), /bucket "no-such-bucket-here" does not exist/);
  });

  test('bytes that change on the way are refused by the server', async () => {
    const bucket = `wire-${process.pid}-${Date.now()}`;
    await new S3Client({ endpoint, forcePathStyle: true, region: 'us-east-1' }).send(
      new CreateBucketCommand({ Bucket: bucket }),
    );
    const bytes = utf8('x'.repeat(5000));
    const marked = utf8(`${'x'.repeat(2000)}MARKED${'x'.repeat(2000)}`);
    const target = new URL(endpoint!);
    let flips = 0;
    const clients: Socket[] = [];
    const proxy = createServer((client) => {
      clients.push(client);
      const server = connect(Number(target.port), target.hostname);
      client.on('data', (chunk) => {
        const at = chunk.indexOf('MARKED');
        if (at >= 0) chunk[at] ^= ++flips > 0 ? 1 : 0;
        server.write(chunk);
      });
      server.pipe(client);
      client.on('error', () => server.destroy()).on('close', () => server.destroy());
      server.on('error', () => client.destroy());
    });
    await new Promise<void>((ready) => proxy.listen(0, '127.0.0.1', ready));
    try {
      const { port } = proxy.address() as AddressInfo;
      const store = new S3Store({ bucket, endpoint: `http://127.0.0.1:${port}` });
      await store.put('shards/a', bytes);
      await assert.rejects(store.put('shards/b', marked), (error) => {
        assert.ok(isEdgeDitError(error, 'store-failed') && /SHA256|Digest/i.test(String(error.message)), String(error));
        return true;
      });
      assert.ok(flips > 0);
      assert.deepEqual(await bytesOf(await store.get('shards/a')), bytes);
      assert.equal(await store.head('shards/b'), undefined);
    } finally {
      proxy.close();
      // Connections that the store keeps would keep this process for a minute.
      for (const client of clients) client.destroy();
    }
  });

  test('a server that does not answer is store-failed', { timeout: 30_000 }, async () => {
    const store = new S3Store({ bucket: 'any', endpoint: 'http://127.0.0.1:9' });
    await assert.rejects(store.get('shards/a'), hasCode('store-failed'));
  });
});
