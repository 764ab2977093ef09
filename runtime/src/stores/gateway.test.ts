/** Several origins as one store, over real HTTP servers that are slow, down, damaged or without the object. */
import assert from 'node:assert/strict';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, describe, test } from 'node:test';
import { isEdgeDitError } from '../errors.ts';
import { fetchObject } from '../fetch.ts';
import { shardKey } from '../format/keys.ts';
import { sha256Hex } from '../verify.ts';
import { GatewayStore } from './gateway.ts';
import { HttpStore } from './http.ts';
import type { Store } from './store.ts';

const bytes = Uint8Array.from({ length: 100_000 }, (_, i) => (i * 3) & 255);
const sha256 = await sha256Hex(bytes);
const key = shardKey(sha256);
const expected = { sha256, length: bytes.length };

interface Place {
  readonly store: Store;
  readonly requests: string[];
  answer: (request: IncomingMessage, response: ServerResponse, from: number) => void;
}

const servers: Server[] = [];
after(() => {
  for (const server of servers) {
    server.closeAllConnections();
    server.close();
  }
});

const whole: Place['answer'] = (_, response, from) => {
  response.writeHead(from > 0 ? 206 : 200, { 'content-length': bytes.length - from }).end(bytes.subarray(from));
};
/** A server that answers after so many milliseconds; requests that measure are not noted. */
async function place(delayMs = 0, answer = whole): Promise<Place> {
  const requests: string[] = [];
  const opened = { requests, answer };
  const server = createServer((request, response) => {
    const range = request.headers.range ?? '';
    if (range === 'bytes=0-0') {
      setTimeout(() => response.writeHead(206, { 'content-length': 1 }).end(bytes.subarray(0, 1)), delayMs);
      return;
    }
    requests.push(range);
    setTimeout(() => opened.answer(request, response, Number(/\d+/.exec(range)?.[0] ?? 0)), delayMs);
  });
  servers.push(server);
  await new Promise<void>((ready) => server.listen(0, '127.0.0.1', ready));
  const store = new HttpStore(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  return Object.assign(opened, { store });
}

const nowhere = new HttpStore('http://127.0.0.1:9');
const options = { backoff: () => 0 };
const read = async (store: Store) => {
  const { object } = await fetchObject(store, key, expected, options);
  assert.deepEqual(object.bytes, bytes);
};
const settled = () => new Promise((wake) => setTimeout(wake, 150));

describe('a store of several origins', () => {
  test('asks the nearest, and the last only when all others fail', async () => {
    const [far, near, s3] = [await place(80), await place(0), await place(0)];
    const store = new GatewayStore([far.store, near.store], { last: s3.store });
    await read(store);
    await settled();
    await read(store);
    assert.deepEqual(
      [far, near, s3].map(({ requests }) => requests.length),
      [0, 2, 0],
    );
    assert.deepEqual(
      store.origins.map(({ name }) => name),
      [near, far, s3].map((origin) => origin.store.name),
    );
    const [first, second, third] = store.origins.map(({ latencyMs }) => latencyMs);
    assert.ok(first! < second! && second! >= 75 && third === undefined);
  });

  test('goes on where one is down, and comes back to it later', async () => {
    const [near, s3] = [await place(0), await place(0)];
    let time = 0;
    const store = new GatewayStore([nowhere, near.store], { last: s3.store, penaltyMs: 1000, now: () => time });
    await read(store);
    near.answer = (_, response) => void response.writeHead(503).end();
    await read(store);
    assert.deepEqual(
      [near, s3].map(({ requests }) => requests.length),
      [2, 1],
    );
    near.answer = whole;
    await read(store);
    assert.equal(s3.requests.length, 2);
    assert.deepEqual(
      store.origins.map(({ failing }) => failing),
      [false, true, true],
    );
    time += 1000;
    await read(store);
    assert.equal(near.requests.length, 3);
  });

  test('one that breaks off is continued elsewhere at that byte', async () => {
    const [near, s3] = [await place(0), await place(0)];
    near.answer = (_, response) => {
      response.writeHead(200, { 'content-length': bytes.length });
      response.write(bytes.subarray(0, 40_000), () => setTimeout(() => response.destroy(), 20));
    };
    const store = new GatewayStore([near.store], { last: s3.store });
    await read(store);
    assert.deepEqual(s3.requests, ['bytes=40000-']);
    await read(store);
    assert.equal(near.requests.length, 1);
  });

  test('one that stalls is doubled elsewhere, and passed by from then on', async () => {
    const [near, s3] = [await place(0), await place(0)];
    near.answer = (_, response) => {
      response.writeHead(200, { 'content-length': bytes.length });
      response.write(bytes.subarray(0, 40_000));
    };
    const store = new GatewayStore([near.store], { last: s3.store });
    await fetchObject(store, key, expected, { ...options, hedgeMs: 1100 });
    assert.deepEqual(s3.requests, ['bytes=40000-']);
    await read(store);
    assert.deepEqual(
      [near, s3].map(({ requests }) => requests.length),
      [1, 2],
    );
  });

  test('one that sends wrong bytes is passed by, and nothing of it is believed', async () => {
    const [near, s3] = [await place(0), await place(0)];
    near.answer = (_, response) => void response.end(bytes.map((byte, i) => (i === 77 ? byte ^ 4 : byte)));
    const store = new GatewayStore([near.store], { last: s3.store });
    await read(store);
    await read(store);
    assert.deepEqual(
      [near, s3].map(({ requests }) => requests.length),
      [1, 2],
    );
  });

  test('absent is what all that could be asked say; a failure is not absence', async () => {
    const [one, two] = [await place(0), await place(0)];
    const absent: Place['answer'] = (_, response) => void response.writeHead(404).end();
    one.answer = absent;
    two.answer = absent;
    assert.equal(await new GatewayStore([one.store], { last: two.store }).get(key), undefined);
    two.answer = whole;
    await read(new GatewayStore([one.store], { last: two.store }));
    await assert.rejects(new GatewayStore([nowhere], { last: nowhere }).get(key), (error) =>
      isEdgeDitError(error, 'store-failed'),
    );
    one.answer = absent;
    await assert.rejects(new GatewayStore([nowhere], { last: one.store }).get(key), (error) =>
      isEdgeDitError(error, 'store-failed'),
    );
    assert.throws(
      () => new GatewayStore([]),
      (error) => isEdgeDitError(error, 'invalid-argument'),
    );
  });

  test('a caller who leaves does no harm to an origin', async () => {
    const [near, s3] = [await place(0), await place(0)];
    near.answer = (_, response) => {
      response.writeHead(200, { 'content-length': bytes.length });
      response.write(bytes.subarray(0, 10));
    };
    const store = new GatewayStore([near.store], { last: s3.store });
    const leaving = new AbortController();
    setTimeout(() => leaving.abort(), 60);
    await assert.rejects(fetchObject(store, key, expected, { signal: leaving.signal }), (error) =>
      isEdgeDitError(error, 'aborted'),
    );
    assert.deepEqual(
      store.origins.map(({ failing }) => failing),
      [false, false],
    );
    near.answer = whole;
    await read(store);
    assert.equal(s3.requests.length, 0);
  });
});
