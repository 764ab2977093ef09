/** The endpoint on every target, with a real model: pictures, their memory, and what happens when clients leave. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Served } from '@edge-dit/functions/listen';
import { copyToLocalR2 } from '@edge-dit/functions/local-r2';
import { serveWorkerd } from '@edge-dit/functions/serve-workerd';
import { serveStore } from '@edge-dit/functions/store-server';
import { targets } from '@edge-dit/functions/targets/index';
import type { FsStore } from '@edge-dit/runtime/stores/fs';
import { publishEmoji } from './testing/emoji-store.ts';
import { askAndLeave, generate, postGenerate } from './testing/endpoint-client.ts';

const MIB = 2 ** 20;
const APPLE = { prompt: 'red apple, fluent 3d style', seed: 1, steps: 2 };

const emoji = await publishEmoji('w4a8');
/** Licence and attribution, as the checkpoint has them. */
const card = JSON.parse(await readFile(new URL('../../examples/emoji/model/model_card.json', import.meta.url), 'utf8'));
const scratch = await mkdtemp(join(tmpdir(), 'edge-dit-endpoint-'));
after(async () => {
  await emoji.remove();
  await rm(scratch, { recursive: true });
});

async function withServer<T>(opening: Promise<Served>, work: (url: string) => Promise<T>): Promise<T> {
  const served = await opening;
  try {
    return await work(served.url);
  } finally {
    await served.close();
  }
}

const digest = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');
/** Of the picture of `APPLE`, by what made it. All must be one. */
const pictures = new Map<string, string>();
after(() => {
  assert.ok(pictures.size >= targets.length);
  assert.equal(new Set(pictures.values()).size, 1, `the pictures differ: ${JSON.stringify([...pictures])}`);
});

for (const target of targets) {
  describe(`target ${target.name}`, () => {
    let served: Served;
    after(() => served?.close());

    test('starts cold, and lists the model from its manifest', async () => {
      served = await target.serve({ store: emoji.store, models: ['emoji'], limits: { waiting: 1 } });
      const health = await fetch(`${served.url}/healthz`);
      const work = { running: 0, waiting: 0, pictures: 0, steps: 0, memory_bytes: 0 };
      assert.deepEqual(await health.json(), { status: 'ok', models: [{ id: 'emoji', state: 'cold' }], work });
      const listed = await (await fetch(`${served.url}/models`)).json();
      assert.deepEqual(listed, {
        models: [
          {
            id: 'emoji',
            digest: emoji.digest,
            architecture: 'PixArtTransformer2DModel',
            recipe: 'w4a8',
            bytes: {
              shards: emoji.manifest.shards.reduce((sum, { length }) => sum + length, 0),
              files: emoji.manifest.files.reduce((sum, { length }) => sum + length, 0),
            },
            size: { width: 128, height: 128, multipleOf: 8, fixed: false },
            defaults: { steps: 20, guidance: 3 },
            conditioning: { type: 'text', maxTokens: 24 },
            ...card,
          },
        ],
      });
      assert.match(await (await fetch(`${served.url}/healthz`)).text(), /"cold"/);
    });

    test('the same request twice gives the same bytes, and says what it did', async (t) => {
      const first = await generate(served.url, APPLE);
      const again = await generate(served.url, APPLE);
      assert.deepEqual(again.png, first.png);
      pictures.set(target.name, digest(first.png));
      assert.deepEqual([...first.png.subarray(1, 4)], [...Buffer.from('PNG')]);
      const header = (name: string) => first.headers.get(name);
      assert.equal(header('content-type'), 'image/png');
      assert.equal(header('cache-control'), 'no-store');
      assert.equal(header('x-model'), 'emoji');
      assert.equal(header('x-model-digest'), emoji.digest);
      assert.deepEqual([header('x-seed'), header('x-steps'), header('x-guidance')], ['1', '2', '3']);
      assert.match(header('x-engine')!, /^wasm-(simd|relaxed)$/);
      const timing = ['queue', 'encode', 'load', 'sample', 'decode', 'png'].map((name) => `${name};dur=[\\d.]+`);
      assert.match(header('server-timing')!, new RegExp(`^${timing.join(', ')}$`));
      const peak = Number(header('x-memory-peak'));
      t.diagnostic(`${target.name}: ${header('x-engine')}, peak ${(peak / MIB).toFixed(1)} MiB of 128`);
      assert.ok(peak > 60 * MIB && peak <= 128 * MIB, `${peak} bytes`);
      assert.match(await (await fetch(`${served.url}/healthz`)).text(), /"ready"/);
    });

    test('without a seed one is drawn, and repeats the picture', async () => {
      const { prompt, steps } = APPLE;
      const first = await generate(served.url, { prompt, steps });
      const seed = Number(first.headers.get('x-seed'));
      assert.ok(Number.isInteger(seed) && seed >= 0 && seed < 2 ** 32);
      assert.deepEqual((await generate(served.url, { prompt, steps, seed })).png, first.png);
      assert.notEqual((await generate(served.url, { prompt, steps })).headers.get('x-seed'), String(seed));
    });

    test('all that a request may say is heard', async () => {
      const all = { ...APPLE, model: 'emoji', negative_prompt: 'green', guidance: 1, width: 64, height: 32 };
      const { headers, png } = await generate(served.url, all);
      assert.equal(headers.get('x-guidance'), '1');
      const view = new DataView(png.buffer);
      assert.deepEqual([view.getUint32(16), view.getUint32(20)], [64, 32]);
      const guided = await generate(served.url, { ...APPLE, negative_prompt: 'green' });
      assert.notEqual(digest(guided.png), pictures.get(target.name));
    });

    test('requests take turns; who finds too many waiting is told when to come back', async () => {
      const leave = askAndLeave(served.url, { ...APPLE, steps: 100 });
      await sleep(200);
      const waiting = generate(served.url, APPLE);
      await sleep(200);
      const busy = await postGenerate(served.url, JSON.stringify(APPLE));
      assert.equal(busy.status, 503);
      assert.ok(Number(busy.headers.get('retry-after')) >= 1);
      assert.equal((await busy.json()).type, 'urn:edge-dit:problem:busy');
      const before = timers();
      for (let i = 0; i < REFUSED; i++) await (await postGenerate(served.url, JSON.stringify(APPLE))).arrayBuffer();
      assert.ok(timers() - before < REFUSED / 2, `${timers() - before} timers of ${REFUSED} refused requests`);
      leave();
      // 100 steps take many times as long as 2: the turn came because the first client left.
      const start = performance.now();
      assert.equal(digest((await waiting).png), pictures.get(target.name));
      const waited = performance.now() - start;
      const alone = performance.now();
      await generate(served.url, APPLE);
      assert.ok(waited < 8 * (performance.now() - alone) + 500, `waited ${waited} ms`);
    });
  });
}

/** Requests in a row, so that what each of them leaves behind would be seen. */
const REFUSED = 20;
/** Of this process, in which the target of Node runs. */
const timers = () => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;

test('a client that leaves while the model is loaded leaves a server that works', async () => {
  for (const target of targets) {
    const serving = target.serve({ store: emoji.store, models: ['emoji'], memoryLimitMb: 512 });
    await withServer(serving, async (url) => {
      for (const ms of [30, 250]) {
        const leave = askAndLeave(url, { ...APPLE, steps: 100 });
        await sleep(ms);
        leave();
      }
      const { png } = await generate(url, APPLE);
      pictures.set(`${target.name}, after others left`, digest(png));
    });
  }
});

test('at once, two cold requests and the list share what is opened', async () => {
  const seen: string[] = [];
  const onStoreRequest = (key: string) => seen.push(key);
  await withServer(serveWorkerd({ store: emoji.store, models: ['emoji'], onStoreRequest }), async (url) => {
    const [first, second] = await Promise.all([
      generate(url, APPLE),
      generate(url, APPLE),
      fetch(`${url}/models`).then((response) => response.json()),
    ]);
    assert.deepEqual(first.png, second.png);
    assert.deepEqual(seen, [...new Set(seen)], 'each object was fetched once');
  });
});

test('workerd: shards from an R2 bucket and from a published address give the same picture', async () => {
  const r2Folder = join(scratch, 'r2');
  await copyToLocalR2(emoji.store, r2Folder);
  await withServer(serveWorkerd({ r2Folder, models: ['emoji'] }), async (url) => {
    pictures.set('workerd from R2', digest((await generate(url, APPLE)).png));
  });
  const published = await serveStore(emoji.store);
  try {
    await withServer(serveWorkerd({ shardsUrl: published.url, models: ['emoji'] }), async (url) => {
      pictures.set('workerd from an address', digest((await generate(url, APPLE)).png));
    });
  } finally {
    await published.close();
  }
});

test('workerd: what the Cache API has is not fetched again, nor is a prompt encoded again', async (t) => {
  const cacheFolder = join(scratch, 'cache');
  const run = async () => {
    const seen: string[] = [];
    const onStoreRequest = (key: string) => seen.push(key.split('/')[0]);
    const serving = serveWorkerd({ store: emoji.store, models: ['emoji'], cacheFolder, onStoreRequest });
    const { headers, png } = await withServer(serving, (url) => generate(url, APPLE));
    assert.match(headers.get('x-engine')!, /^wasm-(simd|relaxed)$/);
    return { seen, peak: Number(headers.get('x-memory-peak')), png };
  };
  const first = await run();
  const shards = first.seen.filter((folder) => folder === 'shards').length;
  const objects = emoji.manifest.files.reduce((sum, { parts }) => sum + parts.length, emoji.manifest.shards.length);
  assert.equal(shards, objects);
  const second = await run();
  assert.deepEqual(second.seen, ['models', 'manifests'], 'a new isolate fetches pointer and manifest only');
  assert.deepEqual(second.png, first.png);
  pictures.set('workerd from the cache', digest(first.png));
  // Without onnxruntime, whose memory alone is 55 MB.
  t.diagnostic(`peak ${(first.peak / MIB).toFixed(1)} MiB cold, ${(second.peak / MIB).toFixed(1)} MiB with the cache`);
  assert.ok(second.peak < 38 * MIB, `${second.peak} bytes`);
});

test('a budget that is too small is a 507, and the request after it is answered', async () => {
  for (const target of targets) {
    await withServer(target.serve({ store: emoji.store, models: ['emoji'], memoryLimitMb: 40 }), async (url) => {
      const response = await postGenerate(url, JSON.stringify(APPLE));
      assert.equal(response.status, 507);
      assert.equal((await response.json()).type, 'urn:edge-dit:problem:memory-exceeded');
      assert.equal((await fetch(`${url}/healthz`)).status, 200);
    });
  }
});

test('a damaged shard is a 502 that names it, and no picture; repaired, the same server gives one', async () => {
  const damaged = await publishEmoji('w4a8');
  try {
    const { sha256 } = damaged.manifest.shards[1];
    const key = `shards/${sha256}`;
    const good = await bytesOf(damaged.store, key);
    const bad = good.slice();
    bad[bad.length >> 1] ^= 1;
    for (const target of targets) {
      await damaged.store.put(key, bad);
      // Servers of Node one after another share an onnxruntime, and what the ones before loaded into it.
      const serving = target.serve({ store: damaged.store, models: ['emoji'], memoryLimitMb: 512 });
      await withServer(serving, async (url) => {
        const response = await postGenerate(url, JSON.stringify(APPLE));
        assert.equal(response.status, 502, target.name);
        assert.equal(response.headers.get('content-type'), 'application/problem+json');
        const problem = await response.json();
        assert.equal(problem.type, 'urn:edge-dit:problem:digest-mismatch');
        assert.ok(problem.detail.includes(sha256), problem.detail);
        assert.doesNotMatch(problem.detail, /token=|127\.0\.0\.1/);
        assert.ok(!problem.detail.includes(damaged.folder), problem.detail);
        await damaged.store.put(key, good);
        pictures.set(`${target.name}, repaired`, digest((await generate(url, APPLE)).png));
      });
    }
  } finally {
    await damaged.remove();
  }
});

async function bytesOf(store: FsStore, key: string): Promise<Uint8Array> {
  return new Uint8Array(await new Response((await store.get(key))!.body as BodyInit).arrayBuffer());
}
