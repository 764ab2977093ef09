/** The gateway over real HTTP: what it gives, in which parts and with which headers, and what it gives to nobody. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { createApp } from '@edge-dit/functions/app';
import { createGateway, type GatewayOptions } from '@edge-dit/functions/gateway/gateway';
import { UrlSigner } from '@edge-dit/functions/gateway/signed-urls';
import { listen, type Served } from '@edge-dit/functions/listen';
import { ModelHost } from '@edge-dit/functions/model-host';
import { fetchShards } from '@edge-dit/runtime/fetch-model';
import { pointerKey, shardKey } from '@edge-dit/runtime/format/keys';
import { loadManifest } from '@edge-dit/runtime/load-manifest';
import { HttpStore } from '@edge-dit/runtime/stores/http';
import { MemoryStore } from '@edge-dit/runtime/stores/memory';
import type { Store } from '@edge-dit/runtime/stores/store';
import { putModel, type RandomModel, randomModel } from './testing/random-model.ts';

const memory = new MemoryStore();
let model: RandomModel;
let hidden: RandomModel;
/** Keys that the store was asked for. */
let asked: string[] = [];
const store: Store = {
  name: 'memory:secret-place',
  get: (key, options) => {
    asked.push(key);
    return memory.get(key, options);
  },
};
const closers: (() => Promise<void>)[] = [];
async function serve(options: Partial<GatewayOptions> = {}): Promise<Served> {
  const logger = { error() {} };
  const served = await listen(createGateway({ store, models: ['a', 'absent'], logger, ...options }).fetch);
  closers.push(served.close);
  return served;
}

before(async () => {
  model = await randomModel({ model: 'a', seed: 1 });
  hidden = await randomModel({ model: 'hidden', seed: 2 });
  for (const one of [model, hidden]) await putModel(memory, one);
});
after(async () => {
  for (const close of closers) await close();
});

const bytesOf = async (response: Response) => new Uint8Array(await response.arrayBuffer());

describe('a gateway', () => {
  let url: string;
  let shard: string;
  let content: Uint8Array;
  before(async () => {
    ({ url } = await serve());
    [{ sha256: shard }] = model.manifest.shards;
    content = model.objects.get(shardKey(shard))!;
  });
  const get = (path: string, headers: Record<string, string> = {}, method = 'GET') =>
    fetch(`${url}${path}`, { headers, method });

  test('is a published store: a model is loaded from its address', async () => {
    const client = new HttpStore(url);
    const { manifest, digest } = await loadManifest(client, 'a');
    assert.equal(digest, model.digest);
    assert.deepEqual(manifest, model.manifest);
    let shards = 0;
    for await (const { shard: fetched, release } of fetchShards(client, manifest)) {
      assert.deepEqual(fetched.bytes, model.objects.get(shardKey(fetched.sha256)));
      shards++;
      release();
    }
    assert.equal(shards, 10);
    await assert.rejects(loadManifest(client, 'hidden'), /has no model "hidden"/);
  });

  test('gives shards for ever, manifests by digest, and the current one by name', async () => {
    const response = await get(`/shards/${shard}`);
    assert.equal(response.status, 200);
    assert.deepEqual(await bytesOf(response), content);
    const expected = {
      etag: `"${shard}"`,
      'cache-control': 'public, max-age=31536000, immutable',
      'accept-ranges': 'bytes',
      'content-length': String(content.length),
      'content-type': 'application/octet-stream',
      'cross-origin-resource-policy': 'cross-origin',
      'x-content-type-options': 'nosniff',
    };
    for (const [name, value] of Object.entries(expected)) assert.equal(response.headers.get(name), value, name);
    const [current, named] = [await get('/models/a/manifest'), await get(`/manifests/${model.digest}.json`)];
    assert.deepEqual(await bytesOf(current), await bytesOf(named));
    assert.equal(current.headers.get('etag'), `"${model.digest}"`);
    assert.equal(current.headers.get('cache-control'), 'no-cache');
    assert.equal(current.headers.get('content-type'), 'application/json');
    const pointer = await get('/models/a.json');
    assert.deepEqual(await bytesOf(pointer), model.objects.get(pointerKey('a')));
    assert.equal(pointer.headers.get('cache-control'), 'no-cache');
  });

  test('a range is a part, one beyond the end is refused, several are all', async () => {
    const size = content.length;
    const parts: [string, number, number][] = [
      ['bytes=0-0', 0, 1],
      ['bytes=100-199', 100, 200],
      ['bytes=100-', 100, size],
      [`bytes=${size - 1}-${10 * size}`, size - 1, size],
      ['bytes=-10', size - 10, size],
      [`bytes=-${2 * size}`, 0, size],
      ['Bytes=5-9', 5, 10],
    ];
    for (const [range, start, end] of parts) {
      const response = await get(`/shards/${shard}`, { range });
      assert.equal(response.status, 206, range);
      assert.equal(response.headers.get('content-range'), `bytes ${start}-${end - 1}/${size}`);
      assert.equal(response.headers.get('content-length'), String(end - start));
      assert.deepEqual(await bytesOf(response), content.subarray(start, end), range);
    }
    for (const range of [`bytes=${size}-`, `bytes=${10 ** 14}-`, 'bytes=-0', `bytes=${'9'.repeat(400)}-`]) {
      const response = await get(`/shards/${shard}`, { range });
      assert.equal(response.status, 416, range);
      assert.equal(response.headers.get('content-range'), `bytes */${size}`);
      assert.equal((await bytesOf(response)).length, 0);
    }
    for (const range of ['bytes=0-1,5-6', 'bytes=9-5', 'bytes=-', 'bytes=a-b', 'items=0-5', 'bytes', '0-5']) {
      const response = await get(`/shards/${shard}`, { range });
      assert.equal(response.status, 200, range);
      assert.equal((await bytesOf(response)).length, size, range);
    }
  });

  test('If-Range continues only the same bytes; If-None-Match spares them', async () => {
    const range = 'bytes=10-19';
    for (const [condition, status] of [
      [`"${shard}"`, 206],
      [`W/"${shard}"`, 200],
      [`"${'0'.repeat(64)}"`, 200],
      ['Wed, 21 Oct 2099 07:28:00 GMT', 200],
    ] as const) {
      const response = await get(`/shards/${shard}`, { range, 'if-range': condition });
      assert.equal(response.status, status, condition);
      await response.body?.cancel();
    }
    for (const known of [`"${shard}"`, `"x", W/"${shard}"`, '*']) {
      const response = await get(`/shards/${shard}`, { 'if-none-match': known, range });
      assert.equal(response.status, 304, known);
      assert.equal(response.headers.get('etag'), `"${shard}"`);
      assert.equal((await bytesOf(response)).length, 0);
    }
    assert.equal((await get('/models/a/manifest', { 'if-none-match': `"${model.digest}"` })).status, 304);
    const changed = await get(`/shards/${shard}`, { 'if-none-match': '"other"' });
    assert.equal(changed.status, 200);
    await changed.body?.cancel();
  });

  test('HEAD says the same without the bytes', async () => {
    for (const [headers, status, length] of [
      [{}, 200, content.length],
      [{ range: 'bytes=5-9' }, 206, 5],
    ] as const) {
      const response = await get(`/shards/${shard}`, headers, 'HEAD');
      assert.equal(response.status, status);
      assert.equal(response.headers.get('content-length'), String(length));
      assert.equal((await bytesOf(response)).length, 0);
    }
  });

  test('lists nothing, and gives nothing that a served model does not name', async () => {
    const other = hidden.manifest.shards[0].sha256;
    assert.ok(await memory.get(shardKey(other)));
    const known = asked.length;
    for (const path of [
      '/',
      '/shards',
      '/shards/',
      '/models/',
      '/models/hidden.json',
      '/models/hidden/manifest',
      `/manifests/${hidden.digest}.json`,
      `/manifests/${model.digest}`,
      `/shards/${other}`,
      `/shards/${shard.toUpperCase()}`,
      `/shards/${model.digest}`,
      `/shards/..%2fmodels%2fhidden.json`,
      '/shards/%00',
      '/models/..%2f..%2fetc%2fpasswd',
      '/models/a.json.json',
    ]) {
      const response = await get(path);
      assert.equal(response.status, 404, path);
      const text = await response.text();
      assert.ok(!text.includes('secret-place') && !text.includes(shard), text);
    }
    // Pointers that are due are read again; what was asked for is not.
    assert.deepEqual(
      asked.slice(known).filter((key) => !/^models\/(a|absent)\.json$/.test(key)),
      [],
    );
    for (const method of ['POST', 'PUT', 'DELETE']) {
      const response = await get(`/shards/${shard}`, {}, method);
      assert.equal(response.status, 405);
      assert.equal(response.headers.get('allow'), 'GET, HEAD');
    }
  });

  test('a model that is not published yet, and a store that fails, are told apart', async () => {
    assert.equal((await get('/models/absent.json')).status, 404);
    const broken: Store = {
      name: 'memory:secret-place',
      get: async () => Promise.reject(new Error('secret-place is down')),
    };
    const served = await serve({ store: broken });
    for (const path of ['/models/a.json', `/shards/${shard}`]) {
      const response = await fetch(served.url + path);
      assert.equal(response.status, 502, path);
    }
  });
});

describe('what a gateway holds', () => {
  test('clients share one fetch, and what was fetched is kept', async () => {
    const { url } = await serve({ models: ['a'] });
    const [{ sha256 }] = model.manifest.shards;
    await (await fetch(`${url}/models/a.json`)).arrayBuffer();
    asked = [];
    const responses = await Promise.all(Array.from({ length: 8 }, () => fetch(`${url}/shards/${sha256}`)));
    for (const response of responses) assert.deepEqual(await bytesOf(response), model.objects.get(shardKey(sha256)));
    assert.deepEqual(asked, [shardKey(sha256)]);
  });

  test('no more than its budget: what nobody takes makes room, what is being taken does not', async () => {
    const sizes = model.manifest.shards.map(({ length }) => length);
    const budget = Math.max(...sizes) + 1000;
    const { url } = await serve({ models: ['a'], heldBytes: budget });
    for (const { sha256 } of model.manifest.shards) {
      assert.deepEqual(await bytesOf(await fetch(`${url}/shards/${sha256}`)), model.objects.get(shardKey(sha256)));
    }
    const [first, second] = model.manifest.shards.slice(1);
    const app = createGateway({ store, models: ['a'], heldBytes: first.length + second.length - 1 });
    const taking = await app.request(`/shards/${first.sha256}`);
    const refused = await app.request(`/shards/${second.sha256}`);
    assert.equal(refused.status, 503);
    assert.equal(refused.headers.get('retry-after'), '1');
    await taking.body?.cancel();
    assert.equal((await app.request(`/shards/${second.sha256}`)).status, 200);
    for (const method of ['HEAD', 'GET']) {
      const unneeded = await app.request(`/shards/${first.sha256}`, { method, headers: { 'if-none-match': '*' } });
      assert.ok([304, 503].includes(unneeded.status));
    }
  });

  test('damage in the store is not passed on, and is asked for again', async () => {
    const place = new MemoryStore();
    await putModel(place, model);
    const [{ sha256, length }] = model.manifest.shards;
    await place.put(shardKey(sha256), new Uint8Array(length));
    const { url } = await serve({ store: place, models: ['a'] });
    const response = await fetch(`${url}/shards/${sha256}`);
    assert.equal(response.status, 502);
    assert.match(await response.text(), /digest-mismatch/);
    await putModel(place, model);
    assert.equal((await fetch(`${url}/shards/${sha256}`)).status, 200);
  });

  test('a publication is seen after a while, and who loads the version before can finish', async () => {
    const place = new MemoryStore();
    let time = 0;
    await putModel(place, model);
    const { url } = await serve({ store: place, models: ['a'], refreshMs: 1000, now: () => time });
    const client = new HttpStore(url);
    assert.equal((await loadManifest(client, 'a')).digest, model.digest);
    const next = await randomModel({ model: 'a', seed: 3 });
    await putModel(place, next);
    assert.equal((await loadManifest(client, 'a')).digest, model.digest);
    time = 1000;
    assert.equal((await loadManifest(client, 'a')).digest, next.digest);
    for (const { sha256 } of [model.manifest.shards[9], next.manifest.shards[9]]) {
      const response = await fetch(`${url}/shards/${sha256}`);
      assert.equal(response.status, 200);
      await response.body?.cancel();
    }
    assert.equal((await fetch(`${url}/manifests/${model.digest}.json`)).status, 200);
  });
});

describe('who may read', () => {
  test('pages of other origins only where they are named', async () => {
    const page = 'https://page.example';
    for (const [cors, allowed] of [
      [undefined, null],
      [['https://other.example'], null],
      [[page, 'https://other.example'], page],
      ['*', '*'],
    ] as const) {
      const { url } = await serve({ cors, models: ['a'] });
      const address = `${url}/models/a.json`;
      const response = await fetch(address, { headers: { origin: page } });
      assert.equal(response.headers.get('access-control-allow-origin'), allowed);
      const preflight = await fetch(address, {
        method: 'OPTIONS',
        headers: { origin: page, 'access-control-request-method': 'GET', 'access-control-request-headers': 'range' },
      });
      assert.equal(preflight.headers.get('access-control-allow-origin'), allowed);
      if (allowed === null) continue;
      assert.match(response.headers.get('access-control-expose-headers') ?? '', /content-range/);
      assert.match(preflight.headers.get('access-control-allow-headers') ?? '', /range/);
      assert.equal(preflight.headers.get('access-control-allow-methods'), 'GET,HEAD');
      assert.equal(
        (await fetch(`${url}/x`, { headers: { origin: page } })).headers.get('access-control-allow-origin'),
        allowed,
      );
    }
  });

  test('with a secret only signed addresses, until they expire', async () => {
    const secret = 'a secret of thirty-two bytes or more';
    let time = 1_000_000;
    const { url } = await serve({ secret, models: ['a'], now: () => time, cors: '*' });
    const signer = new UrlSigner(secret);
    const [{ sha256 }] = model.manifest.shards;
    const shard = `${url}/shards/${sha256}`;
    const status = async (address: string) => {
      const response = await fetch(address);
      await response.body?.cancel();
      return response.status;
    };
    const one = await signer.sign(shard, { expires: 2000 });
    assert.equal(await status(one), 200);
    assert.equal((await fetch(one)).headers.get('cache-control'), 'private, max-age=31536000, immutable');
    const forged: string[] = [
      shard,
      one.replace(/signature=./, (text) => `signature=${text.endsWith('0') ? '1' : '0'}`),
      one.replace('expires=2000', 'expires=3000'),
      `${one}&scope=all`,
      one.replace(sha256, model.manifest.shards[1].sha256),
      one.replace(/&signature=.*/, '&signature='),
      one.replace(/signature=.*/, (text) => text.toUpperCase()),
      await new UrlSigner(`${secret}.`).sign(shard, { expires: 2000 }),
      await signer.sign(shard, { expires: 999 }),
    ];
    for (const address of forged) assert.equal(await status(address), 403, address);
    // A client loads a whole model with one signature.
    const all = await signer.sign(url, { expires: 2000, all: true });
    const client = new HttpStore(all);
    const { manifest } = await loadManifest(client, 'a');
    for await (const { release } of fetchShards(client, manifest)) release();
    time = 2_000_000;
    await assert.rejects(loadManifest(client, 'a'), (error: Error) => !error.message.includes('signature'));
    assert.equal(await status(one), 403);
    assert.throws(() => new UrlSigner('short'), /32 bytes/);
  });

  test('beside the endpoint it has its own routes, and the endpoint those that it had', async () => {
    const models = new ModelHost({ models: ['a'], pipeline: { store, kernels: {} as never } });
    const app = createApp({ models, gateway: createGateway({ store, models: ['a'] }) });
    assert.equal((await app.request('/models/a/manifest')).status, 200);
    assert.equal((await app.request('/healthz')).status, 200);
    assert.equal((await app.request('/models')).status, 200);
    assert.equal((await app.request('/generate')).status, 405);
    assert.match(await (await app.request('/nothing')).text(), /Known: .*POST \/generate/);
  });
});
