/** Fetching from a real HTTP server that fails in every way that servers do. */
import assert from 'node:assert/strict';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, beforeEach, describe, test } from 'node:test';
import { isEdgeDitError } from './errors.ts';
import { type Expected, fetchObject, readSmall } from './fetch.ts';
import { fetchFile, fetchShards } from './fetch-model.ts';
import { describeFile, partsOfFile } from './format/file-parts.ts';
import { shardKey } from './format/keys.ts';
import type { Manifest } from './format/manifest.ts';
import { packShards } from './format/pack.ts';
import { loadManifest } from './load-manifest.ts';
import { Meter } from './meter.ts';
import { HttpStore } from './stores/http.ts';
import { MemoryStore } from './stores/memory.ts';
import type { Store } from './stores/store.ts';
import { sha256Hex } from './verify.ts';

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

const bytes = Uint8Array.from({ length: 300_000 }, (_, i) => (i * 7) & 255);
let handlers: Handler[] = [];
let requests: { url: string; range?: string; cache?: string }[] = [];
let store: HttpStore;
let expected: Expected;
let key: string;
const server = createServer((request, response) => {
  requests.push({ url: request.url ?? '', range: request.headers.range, cache: request.headers['cache-control'] });
  (handlers.shift() ?? whole)(request, response);
});

const whole: Handler = (request, response) => {
  const range = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '');
  if (range === null) return void response.end(bytes);
  const part = bytes.subarray(Number(range[1]), range[2] === '' ? undefined : Number(range[2]) + 1);
  response.writeHead(206, { 'content-length': part.length }).end(part);
};
const status =
  (code: number): Handler =>
  (_, response) =>
    void response.writeHead(code).end('{}');
/** Announces all, sends `count` bytes and breaks the connection. */
const resetAfter =
  (count: number): Handler =>
  (_, response) => {
    response.writeHead(200, { 'content-length': bytes.length });
    response.write(bytes.subarray(0, count), () => setTimeout(() => response.destroy(), 20));
  };
/** A whole answer, but of other bytes. */
const other =
  (content: Uint8Array): Handler =>
  (_, response) =>
    void response.end(content);
/** Chunked, so that the length shows only at the end. */
const unannounced =
  (content: Uint8Array): Handler =>
  (_, response) => {
    response.write(content.subarray(0, 10));
    response.end(content.subarray(10));
  };

before(async () => {
  await new Promise<void>((ready) => server.listen(0, '127.0.0.1', ready));
  store = new HttpStore(`http://127.0.0.1:${(server.address() as AddressInfo).port}/base?token=secret`);
  expected = { sha256: await sha256Hex(bytes), length: bytes.length };
  key = shardKey(expected.sha256);
});
after(() => server.closeAllConnections());
after(() => void server.close());
beforeEach(() => {
  handlers = [];
  requests = [];
});

const rejectsWith = (work: Promise<unknown>, code: Parameters<typeof isEdgeDitError>[1], message: RegExp) =>
  assert.rejects(work, (error) => {
    assert.ok(isEdgeDitError(error, code), `expected ${code}, got ${error}`);
    assert.match(error.message, message);
    assert.ok(!error.message.includes('secret'), 'a message shows the query');
    return true;
  });

describe('fetchObject', () => {
  test('gives verified bytes and pays for them until release', async () => {
    const meter = new Meter();
    let counted = 0;
    const { object, release } = await fetchObject(store, key, expected, { meter, onBytes: (n) => (counted += n) });
    assert.deepEqual(object.bytes, bytes);
    assert.equal(counted, bytes.length);
    assert.equal(meter.current, bytes.length);
    release();
    release();
    assert.equal(meter.current, 0);
    assert.deepEqual(requests, [{ url: `/base/${key}?token=secret`, range: undefined, cache: undefined }]);
  });

  test('tries again after 503 and after a reset, and continues where it broke off', async () => {
    handlers = [status(503), resetAfter(100_000), resetAfter(100_000)];
    const { object } = await fetchObject(store, key, expected);
    assert.deepEqual(object.bytes, bytes);
    assert.equal(requests.length, 4);
    assert.equal(requests[1].range, undefined);
    assert.match(requests[2].range ?? '', /^bytes=\d+-$/);
  });

  test('a server that ignores Range costs time, not correctness', async () => {
    handlers = [resetAfter(1000), (_, response) => void response.end(bytes)];
    const { object } = await fetchObject(store, key, expected);
    assert.deepEqual(object.bytes, bytes);
    assert.equal(requests[1].range, 'bytes=1000-');
  });

  test('gives up after four tries and gives the meter back', async () => {
    handlers = Array.from({ length: 9 }, () => status(503));
    const meter = new Meter();
    await rejectsWith(
      fetchObject(store, key, expected, { meter }),
      'store-failed',
      /^\[GET\] "http:.*\/base\/shards\/.*": 503$/,
    );
    assert.equal(requests.length, 4);
    assert.equal(meter.current, 0);
  });

  test('fetches once more past caches what is wrong, short or long', async () => {
    const wrong = bytes.slice();
    wrong[7] ^= 1;
    const long = new Uint8Array(bytes.length + 1);
    for (const content of [wrong, bytes.subarray(0, -1), long]) {
      for (const answer of [other(content), unannounced(content)]) {
        requests = [];
        handlers = [answer];
        const { object } = await fetchObject(store, key, expected);
        assert.deepEqual(object.bytes, bytes);
        assert.deepEqual(
          requests.map(({ cache }) => cache),
          [undefined, 'no-cache'],
        );
      }
    }
  });

  test('what stays wrong is an error that names it, got and expected', async () => {
    const wrong = bytes.slice();
    wrong[7] ^= 1;
    handlers = [other(wrong), other(wrong)];
    await rejectsWith(
      fetchObject(store, key, expected),
      'digest-mismatch',
      new RegExp(`shards/${expected.sha256}: SHA-256 is ${await sha256Hex(wrong)}, expected ${expected.sha256}`),
    );
    const atOnce = { backoff: () => 0 };
    handlers = Array.from({ length: 4 }, () => other(bytes.subarray(1)));
    await rejectsWith(
      fetchObject(store, key, expected, atOnce),
      'digest-mismatch',
      /got 299999 bytes, expected 300000/,
    );
    // An endless body is left at the first byte too many.
    const endless: Handler = (_, response) => {
      const more = () => response.destroyed || response.write(bytes, () => setImmediate(more));
      more();
    };
    // It has the right bytes before those that are too many.
    handlers = [endless];
    const { object } = await fetchObject(store, key, expected);
    assert.deepEqual(object.bytes, bytes);
    assert.equal(requests.length, 2 + 4 + 1);
  });

  test('absent, denied and unreachable are told apart, and only the last is tried again', async () => {
    handlers = [status(404)];
    await rejectsWith(fetchObject(store, key, expected), 'object-missing', /there is no such object/);
    handlers = [status(403)];
    await rejectsWith(fetchObject(store, key, expected), 'store-denied', /403; check the credentials/);
    assert.equal(requests.length, 2);
    const nowhere = new HttpStore('http://127.0.0.1:9');
    await rejectsWith(fetchObject(nowhere, key, expected), 'store-failed', /\[GET\] "http:\/\/127\.0\.0\.1:9\/shards/);
  });

  test('stops when aborted, in a body that stalls too', async () => {
    const stalls: Handler = (_, response) => void response.write(bytes.subarray(0, 10));
    handlers = [stalls];
    const controller = new AbortController();
    const meter = new Meter();
    const work = fetchObject(store, key, expected, { signal: controller.signal, meter });
    setTimeout(() => controller.abort(), 50);
    await rejectsWith(work, 'aborted', /cancelled by the caller/);
    assert.equal(meter.current, 0);
    handlers = [stalls, stalls, stalls, stalls];
    await rejectsWith(fetchObject(store, key, expected, { stallMs: 30 }), 'store-failed', /no byte for 30 ms/);
  });

  test('a store that answers after the caller left is told to keep its body', async () => {
    const leaving = new AbortController();
    let answer!: () => void;
    let cancelled = false;
    const slow: Store = {
      name: 'slow',
      get: () =>
        new Promise((resolve) => {
          const body = new ReadableStream<Uint8Array>({ cancel: () => void (cancelled = true) });
          answer = () => resolve({ body });
        }),
    };
    const fetching = fetchObject(slow, key, expected, { signal: leaving.signal });
    leaving.abort();
    await assert.rejects(fetching, (error) => isEdgeDitError(error, 'aborted'));
    answer();
    await new Promise((resolve) => setImmediate(resolve));
    assert.ok(cancelled, 'the body was left open');
  });

  test('refuses what does not fit the budget before it asks for it', async () => {
    const meter = new Meter(bytes.length - 1);
    await rejectsWith(
      fetchObject(store, key, expected, { meter }),
      'memory-exceeded',
      /fetched objects needs 300000 bytes/,
    );
    await rejectsWith(
      fetchObject(store, key, { ...expected, length: 2 ** 40 }),
      'invalid-argument',
      /at most 16777216/,
    );
    assert.equal(requests.length, 0);
  });

  test('small objects have a limit too', async () => {
    await rejectsWith(readSmall(store, 'models/m.json', 1000), 'manifest-invalid', /got 300000 bytes, at most 1000/);
    handlers = [unannounced(bytes)];
    await rejectsWith(readSmall(store, 'models/m.json', 1000), 'manifest-invalid', /got more than 1000/);
    handlers = [status(404)];
    assert.equal(await readSmall(store, 'models/m.json', 1000), undefined);
  });
});

describe('http store', () => {
  test('reads ranges, and takes only http addresses', async () => {
    const got = await store.get(key, { range: { offset: 5, length: 3 } });
    assert.equal(got?.size, 3);
    assert.deepEqual(
      new Uint8Array(await new Response(got?.body as ReadableStream<Uint8Array<ArrayBuffer>>).arrayBuffer()),
      bytes.subarray(5, 8),
    );
    assert.throws(() => new HttpStore('ftp://x'), /needs a URL that starts with http/);
    assert.throws(() => new HttpStore('nonsense'), /needs a URL that starts with http/);
    await rejectsWith(store.get('../etc'), 'invalid-argument', /is not acceptable/);
  });
});

describe('fetchShards and fetchFile', () => {
  const memory = new MemoryStore();
  let manifest: Pick<Manifest, 'shards' | 'tensors'>;
  const MIB = 2 ** 20;

  before(async () => {
    const tensors = Array.from({ length: 10 }, (_, i) => ({
      name: `t${i}`,
      shape: [3 * MIB],
      encoding: 'u8',
      bytes: new Uint8Array(3 * MIB).fill(i),
      group: `g${i}`,
    }));
    manifest = { shards: [], tensors: [] };
    for await (const shard of packShards(tensors)) {
      manifest.shards.push({ sha256: shard.sha256, length: shard.length });
      manifest.tensors.push(...shard.tensors);
      await memory.put(shardKey(shard.sha256), shard.bytes);
    }
  });

  /** Counts what is under way at once. */
  function counting() {
    const counts = { now: 0, most: 0, total: 0 };
    const get: MemoryStore['get'] = async (name, options) => {
      counts.total++;
      counts.most = Math.max(counts.most, ++counts.now);
      await new Promise((wake) => setTimeout(wake, 5 + 10 * Math.random()));
      counts.now--;
      return memory.get(name, options);
    };
    return { store: { name: 'counting', get }, counts };
  }

  test('shards come in order, a few at a time', async () => {
    const { store: slow, counts } = counting();
    const meter = new Meter();
    const order: number[] = [];
    for await (const { index, shard, release } of fetchShards(slow, manifest, { meter, concurrency: 3 })) {
      assert.equal(shard.tensorBytes(manifest.tensors[index])[0], index);
      order.push(index);
      assert.ok(meter.current <= 3 * manifest.shards[0].length);
      release();
    }
    assert.deepEqual(order, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    assert.equal(counts.most, 3);
    assert.equal(meter.current, 0);
    await assert.rejects(fetchShards(slow, manifest, { concurrency: 7 }).next(), /concurrency is 7; give 1 to 6/);
  });

  test('a tight budget fetches less ahead; only what does not fit alone is refused', async () => {
    const { store: slow, counts } = counting();
    const { length } = manifest.shards[0];
    let seen = 0;
    for await (const { release } of fetchShards(slow, manifest, { meter: new Meter(2 * length) })) {
      seen++;
      release();
    }
    assert.equal(seen, 10);
    assert.equal(counts.most, 2);
    const small = new Meter(length - 1);
    await rejectsWith(fetchShards(slow, manifest, { meter: small }).next(), 'memory-exceeded', /needs/);
  });

  test('leaving early or an error gives everything back', async () => {
    const meter = new Meter();
    for await (const { release } of fetchShards(memory, manifest, { meter })) {
      release();
      break;
    }
    assert.equal(meter.current, 0);
    const damaged = structuredClone(manifest);
    damaged.shards[2].sha256 = '0'.repeat(64);
    const work = async () => {
      for await (const { release } of fetchShards(memory, damaged, { meter })) release();
    };
    await rejectsWith(work(), 'object-missing', /shards\/0000/);
    assert.equal(meter.current, 0);
    const swapped = structuredClone(manifest);
    swapped.tensors.pop();
    const count = async () => {
      for await (const { release } of fetchShards(memory, swapped, { meter })) release();
    };
    await rejectsWith(count(), 'shard-malformed', /shard 9 .* holds 1 tensors, the manifest says 0/);
    assert.equal(meter.current, 0);
  });

  test('files are put together from their parts', async () => {
    const content = Uint8Array.from({ length: 9 * MIB + 5 }, (_, i) => ((i * 13) >> 8) + (i >> 22));
    const file = await describeFile('encoder.onnx', content);
    assert.deepEqual(
      file.parts.map(({ length }) => length),
      [4 * MIB, 4 * MIB, MIB + 5],
    );
    for (const part of partsOfFile(content)) await memory.put(shardKey(await sha256Hex(part)), part);
    const meter = new Meter();
    const fetched = await fetchFile(memory, file, { meter });
    assert.equal(Buffer.compare(fetched.bytes, content), 0);
    assert.equal(meter.current, content.length);
    assert.equal(meter.peak, content.length);
    fetched.release();
    const shuffled = { ...file, parts: [file.parts[1], file.parts[0], file.parts[2]] };
    await rejectsWith(fetchFile(memory, shuffled, { meter }), 'digest-mismatch', /file encoder\.onnx of memory/);
    await memory.delete(shardKey(file.parts[2].sha256));
    await rejectsWith(fetchFile(memory, file, { meter }), 'object-missing', new RegExp(file.parts[2].sha256));
    assert.equal(meter.current, 0);
  });
});

test('loadManifest says which models there are', async () => {
  const memory = new MemoryStore();
  await rejectsWith(loadManifest(memory, 'emoji'), 'model-not-found', /memory has no model "emoji"; it has none/);
  await memory.put('models/other.json', new TextEncoder().encode('{"manifest":1}'));
  await rejectsWith(loadManifest(memory, 'emoji'), 'model-not-found', /has no model "emoji"\. It has: other\./);
  await rejectsWith(loadManifest(memory, 'other'), 'manifest-invalid', /models\/other\.json: manifest: /);
  await rejectsWith(loadManifest(memory, '../x'), 'invalid-argument', /is not a model name/);
  handlers = [status(404)];
  await rejectsWith(loadManifest(store, 'emoji'), 'model-not-found', /check the name/);
});
