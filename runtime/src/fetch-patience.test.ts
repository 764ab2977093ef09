/** What fetching does when time passes: a real HTTP server that stalls, drips, breaks off and asks to be left alone. */
import assert from 'node:assert/strict';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, beforeEach, describe, test } from 'node:test';
import { deadline } from './deadline.ts';
import { type ErrorCode, isEdgeDitError } from './errors.ts';
import { type Expected, fetchObject, fullJitter, readSmall } from './fetch.ts';
import { fetchShards } from './fetch-model.ts';
import { shardKey } from './format/keys.ts';
import { HttpStore } from './stores/http.ts';
import { sha256Hex } from './verify.ts';

type Handler = (request: IncomingMessage, response: ServerResponse, from: number) => void;

const bytes = Uint8Array.from({ length: 200_000 }, (_, i) => (i * 7) & 255);
let handlers: Handler[] = [];
let requests: { at: number; range?: string; closed: Promise<number> }[] = [];
let [open, mostOpen] = [0, 0];
let store: HttpStore;
let expected: Expected;
let key: string;

const server = createServer((request, response) => {
  const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
  const closed = new Promise<number>((resolve) => response.on('close', () => resolve(performance.now())));
  requests.push({ at: performance.now(), range: request.headers.range, closed });
  mostOpen = Math.max(mostOpen, ++open);
  response.on('close', () => open--);
  (handlers.shift() ?? whole)(request, response, from);
});
const begin = (response: ServerResponse, from: number) =>
  response.writeHead(from > 0 ? 206 : 200, { 'content-length': bytes.length - from });
const whole: Handler = (_, response, from) => void begin(response, from).end(bytes.subarray(from));
/** Sends `count` bytes, then nothing more, and leaves the connection open. */
const stallAfter =
  (count: number): Handler =>
  (_, response, from) =>
    count === 0
      ? begin(response, from).flushHeaders()
      : void begin(response, from).write(bytes.subarray(from, from + count));
const silent: Handler = () => {};
const resetAfter =
  (count: number): Handler =>
  (_, response, from) => {
    begin(response, from).write(bytes.subarray(from, from + count), () => setTimeout(() => response.destroy(), 5));
  };

before(async () => {
  await new Promise<void>((ready) => server.listen(0, '127.0.0.1', ready));
  store = new HttpStore(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  expected = { sha256: await sha256Hex(bytes), length: bytes.length };
  key = shardKey(expected.sha256);
});
after(() => server.closeAllConnections());
after(() => void server.close());
beforeEach(async () => {
  // A request that was dropped may still be on its way.
  for (let quiet = 0; quiet < 3; quiet = open === 0 ? quiet + 1 : 0) await new Promise((wake) => setTimeout(wake, 5));
  handlers = [];
  requests = [];
  mostOpen = 0;
});

const atOnce = { backoff: () => 0 };
const rejectsWith = (work: Promise<unknown>, code: ErrorCode, message: RegExp) =>
  assert.rejects(work, (error) => {
    assert.ok(isEdgeDitError(error, code), `expected ${code}, got ${error}`);
    assert.match(error.message, message);
    return true;
  });
async function took(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

describe('backoff', () => {
  test('is random from nothing to a bound that doubles', () => {
    for (const [retry, bound] of [200, 400, 800].entries()) {
      assert.equal(
        fullJitter(retry, () => 0),
        0,
      );
      assert.equal(
        fullJitter(retry, () => 0.5),
        bound / 2,
      );
      assert.ok(fullJitter(retry) < bound);
    }
  });

  test('is asked before every try but the first, and starts anew when bytes came', async () => {
    const asked: number[] = [];
    const backoff = (retry: number) => {
      asked.push(retry);
      return 0;
    };
    const failing: Handler = (_, response) => void response.writeHead(500).end();
    handlers = [failing, failing, resetAfter(1000), failing, failing, resetAfter(1000), resetAfter(1000)];
    const { object } = await fetchObject(store, key, expected, { backoff });
    assert.deepEqual(object.bytes, bytes);
    assert.deepEqual(asked, [0, 1, 0, 1, 2, 0, 0]);
    assert.equal(requests.at(-1)?.range, 'bytes=3000-');
  });

  test('waits as long as the server asks for', async () => {
    handlers = [(_, response) => void response.writeHead(503, { 'retry-after': '1' }).end()];
    const ms = await took(() => fetchObject(store, key, expected, atOnce));
    assert.ok(ms >= 950 && ms < 5000, `${ms} ms`);
    // A date, which may be of any clock, and nonsense are passed by.
    for (const value of ['Wed, 21 Oct 2099 07:28:00 GMT', '-5', 'soon']) {
      handlers = [(_, response) => void response.writeHead(503, { 'retry-after': value }).end()];
      assert.ok((await took(() => fetchObject(store, key, expected, atOnce))) < 5000, value);
    }
  });
});

describe('a fetch that stalls', () => {
  for (const [name, handler, range] of [
    ['before it answers', silent, undefined],
    ['before its first byte', stallAfter(0), undefined],
    ['within the body', stallAfter(50_000), 'bytes=50000-'],
  ] as const) {
    test(`${name} is asked for a second time, and the first request is dropped`, async () => {
      handlers = [handler];
      let counted = 0;
      const onBytes = (count: number) => (counted += count);
      const ms = await took(async () => {
        const { object } = await fetchObject(store, key, expected, { hedgeMs: 60, onBytes });
        assert.deepEqual(object.bytes, bytes);
      });
      assert.ok(ms >= 55 && ms < 3000, `${ms} ms`);
      assert.deepEqual(
        requests.map((request) => request.range),
        [undefined, range],
      );
      assert.equal(counted, bytes.length, 'bytes came twice');
      await requests[0].closed;
    });
  }

  test('goes on with the first request where that wakes up first', async () => {
    const wakes: Handler = (_, response) => {
      begin(response, 0).write(bytes.subarray(0, 50_000));
      setTimeout(() => response.end(bytes.subarray(50_000)), 150);
    };
    handlers = [wakes, stallAfter(0)];
    const { object } = await fetchObject(store, key, expected, { hedgeMs: 50 });
    assert.deepEqual(object.bytes, bytes);
    assert.equal(requests.length, 2);
    await requests[1].closed;
  });

  test('a second request that fails does not end the first, and both failing is one try', async () => {
    const refuses: Handler = (_, response) => void response.writeHead(503).end();
    const wakes: Handler = (_, response) => void setTimeout(() => whole(_, response, 0), 150);
    handlers = [wakes, refuses];
    await fetchObject(store, key, expected, { hedgeMs: 50, ...atOnce });
    assert.equal(requests.length, 2);
    requests = [];
    handlers = Array.from({ length: 20 }, () => silent);
    const options = { hedgeMs: 20, stallMs: 40, ...atOnce };
    await rejectsWith(fetchObject(store, key, expected, options), 'store-failed', /no byte for 40 ms/);
    assert.equal(requests.length, 8);
  });

  test('of which halves could be of two versions is not doubled', async () => {
    const drips: Handler = (_, response) => {
      response.write('{"manifest"');
      setTimeout(() => response.end(':1}'), 120);
    };
    handlers = [drips];
    const found = await readSmall(store, 'models/m.json', 1000, { hedgeMs: 40 });
    assert.equal(new TextDecoder().decode(found?.bytes), '{"manifest":1}');
    assert.equal(requests.length, 1);
  });

  test('opens no more than six connections for a model', async () => {
    const shards = Array.from({ length: 6 }, () => expected);
    handlers = Array.from({ length: 6 }, () => silent);
    const options = { concurrency: 5, hedgeMs: 40, stallMs: 150, ...atOnce };
    const reading = async () => {
      for await (const { release } of fetchShards(store, { shards, tensors: [] }, options)) release();
    };
    // The bytes are no shard; until that is found all have been fetched.
    await rejectsWith(reading(), 'shard-malformed', /.*/);
    assert.ok(mostOpen <= 6, `${mostOpen} at once`);
    assert.ok(requests.length > 6);
  });
});

describe('time limits', () => {
  /** Never stalls for long, never ends. */
  const drip: Handler = (_, response, from) => {
    begin(response, from);
    let at = from;
    const timer = setInterval(() => response.write(bytes.subarray(at, ++at)), 10);
    response.on('close', () => clearInterval(timer));
  };

  test('a body that drips for ever ends with an error that says so', async () => {
    handlers = [drip];
    const ms = await took(() =>
      rejectsWith(fetchObject(store, key, expected, { deadlineMs: 200 }), 'store-failed', /not whole after 200 ms/),
    );
    assert.ok(ms >= 190 && ms < 2000, `${ms} ms`);
    assert.equal(requests.length, 1);
    await requests[0].closed;
  });

  test('one for work of many requests is raised as it is, and a cancellation as that', async () => {
    handlers = [drip];
    const signal = deadline(100, 'loading m');
    await rejectsWith(
      fetchObject(store, key, expected, { signal }),
      'store-failed',
      /loading m: not done after 100 ms/,
    );
    handlers = [drip];
    const leaving = new AbortController();
    const both = deadline(5000, 'loading m', leaving.signal);
    setTimeout(() => leaving.abort(), 50);
    await rejectsWith(fetchObject(store, key, expected, { signal: both }), 'aborted', /cancelled by the caller/);
  });
});
