/**
 * Requests that nobody would make, to a gateway over a store that notices what it is asked for. In: a number of cases and a
 * seed. Out: how many were answered with which status. *Throws at the first answer that is not one of ours: a status of
 * a server at fault, bytes that are not what was asked for, or a key of the store that no served model names.*
 */

import { connect } from 'node:net';
import { createGateway } from '@edge-dit/functions/gateway/gateway';
import { listen } from '@edge-dit/functions/listen';
import { manifestKey, pointerKey, shardKey } from '@edge-dit/runtime/format/keys';
import { MemoryStore } from '@edge-dit/runtime/stores/memory';
import type { Store } from '@edge-dit/runtime/stores/store';
import { randomBits } from './random-bits.ts';
import { putModel, type RandomModel, randomModel } from './random-model.ts';

export interface FuzzGatewayOptions {
  readonly cases: number;
  readonly seed: number;
  readonly onCase?: (done: number) => void;
}

/** Of so many, one goes through a socket as it is: `fetch` would tidy its path up. */
const RAW_EVERY = 10;
const ALLOWED = new Set([200, 206, 304, 400, 404, 405, 416]);

export async function fuzzGateway({ cases, seed, onCase }: FuzzGatewayOptions): Promise<Record<number, number>> {
  const model = await randomModel({ model: 'a', seed: 1 });
  const hidden = await randomModel({ model: 'hidden', seed: 2 });
  const memory = new MemoryStore();
  for (const one of [model, hidden]) await putModel(memory, one);
  const named = new Set(model.objects.keys());
  const strays: string[] = [];
  const store: Store = {
    name: 'memory',
    get: (key, options) => {
      if (!named.has(key)) strays.push(key);
      return memory.get(key, options);
    },
  };
  const logged: unknown[] = [];
  const logger = { error: (message: string, cause?: unknown) => void logged.push(message, cause) };
  const app = createGateway({ store, models: ['a'], logger });
  const served = await listen(app.fetch);
  const random = new Fuzzer(seed, model, hidden);
  const counts: Record<number, number> = {};
  try {
    for (let i = 0; i < cases; i++) {
      const request = random.request();
      const fail = (message: string) => new Error(`case ${i} of seed ${seed}: ${message}: ${JSON.stringify(request)}`);
      const answer = i % RAW_EVERY === 0 ? await askRaw(served.url, request) : await ask(app, request);
      counts[answer.status] = (counts[answer.status] ?? 0) + 1;
      if (!ALLOWED.has(answer.status)) throw fail(`status ${answer.status}`);
      if (strays.length > 0) throw fail(`the store was asked for ${strays.join(', ')}`);
      if (logged.length > 0) throw fail(`it failed: ${logged.join(' ')}`);
      const problem = checkAnswer(answer, model);
      if (problem !== undefined) throw fail(problem);
      onCase?.(i + 1);
    }
  } finally {
    await served.close();
  }
  return counts;
}

interface FuzzRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
}

interface FuzzAnswer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: Uint8Array;
  readonly method: string;
}

/** What is wrong with a 200, 206, 304 or 416; all others must not have bytes of a model. */
function checkAnswer({ status, headers, body, method }: FuzzAnswer, model: RandomModel): string | undefined {
  if (status >= 400 && status !== 416) return body.length > 2000 ? 'an error with a long body' : undefined;
  const etag = headers.get('etag')?.replaceAll('"', '') ?? '';
  const object =
    model.objects.get(shardKey(etag)) ?? model.objects.get(manifestKey(etag)) ?? model.objects.get(pointerKey('a'))!;
  if (status === 304) return body.length > 0 ? 'a 304 with a body' : undefined;
  if (status === 416) {
    return headers.get('content-range') === `bytes */${object.length}` ? undefined : 'a 416 without the size';
  }
  const [, first, last, size] = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(headers.get('content-range') ?? '') ?? [];
  if ((status === 206) !== (first !== undefined)) return 'a range where there is none, or none where there is one';
  const [start, end] = first === undefined ? [0, object.length] : [Number(first), Number(last) + 1];
  if (first !== undefined && Number(size) !== object.length) return 'a wrong size in the range';
  if (start >= end || end > object.length) return 'a range beyond the object';
  if (Number(headers.get('content-length')) !== end - start) return 'a wrong length';
  if (method === 'HEAD') return body.length > 0 ? 'a HEAD with a body' : undefined;
  return Buffer.compare(body, object.subarray(start, end)) === 0 ? undefined : 'other bytes than were asked for';
}

async function ask(app: ReturnType<typeof createGateway>, { method, path, headers }: FuzzRequest): Promise<FuzzAnswer> {
  const response = await app.request(`http://gateway${path}`, { method, headers });
  const body = new Uint8Array(await response.arrayBuffer());
  return { status: response.status, headers: response.headers, body, method };
}

/** One request on a connection of its own, its path byte for byte. */
function askRaw(url: string, { method, path, headers }: FuzzRequest): Promise<FuzzAnswer> {
  const { hostname, port } = new URL(url);
  const lines = Object.entries({ host: hostname, connection: 'close', ...headers }).map(
    ([name, value]) => `${name}: ${value}`,
  );
  return new Promise((resolve, reject) => {
    const socket = connect(Number(port), hostname);
    const chunks: Buffer[] = [];
    socket.on('data', (chunk) => chunks.push(chunk));
    socket.on('error', reject);
    socket.on('end', () => {
      const answer = Buffer.concat(chunks);
      const at = answer.indexOf('\r\n\r\n');
      const [first, ...fields] = answer.toString('latin1', 0, at).split('\r\n');
      const found = new Headers(
        fields.map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1)]),
      );
      resolve({
        status: Number(first.split(' ')[1]),
        headers: found,
        body: bodyOf(answer.subarray(at + 4), found),
        method,
      });
    });
    socket.write(`${method} ${path} HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`, 'latin1');
  });
}

function bodyOf(bytes: Buffer, headers: Headers): Uint8Array {
  if (headers.get('transfer-encoding') !== 'chunked') return bytes;
  const parts: Buffer[] = [];
  for (let at = 0; ; ) {
    const end = bytes.indexOf('\r\n', at);
    const length = Number.parseInt(bytes.toString('latin1', at, end), 16);
    if (!(length > 0)) return Buffer.concat(parts);
    parts.push(bytes.subarray(end + 2, end + 2 + length));
    at = end + 2 + length + 2;
  }
}

const METHODS = ['GET', 'GET', 'GET', 'GET', 'GET', 'HEAD', 'POST', 'DELETE'];
const SEASONING = [
  '%2f',
  '%2F',
  '..',
  '/',
  '//',
  '%00',
  '%',
  '.json',
  '%2e%2e',
  '\\',
  '?',
  '?x=1',
  '#',
  ';',
  '*',
  '%ff',
  '0',
  'g',
  '-',
];

class Fuzzer {
  readonly #next: () => number;
  readonly #paths: readonly string[];
  readonly #digests: readonly string[];
  readonly #sizes: readonly number[];

  constructor(seed: number, model: RandomModel, hidden: RandomModel) {
    this.#next = randomBits(seed);
    const shards = [...model.manifest.shards, ...hidden.manifest.shards];
    this.#digests = [model.digest, hidden.digest, ...shards.map(({ sha256 }) => sha256)];
    this.#sizes = [0, 1, ...shards.map(({ length }) => length), 2 ** 31, 2 ** 53, 1e30];
    this.#paths = [
      ...[model, model, model, hidden].flatMap(({ objects }) => [...objects.keys()].map((key) => `/${key}`)),
      ...['a', 'hidden', '__proto__', 'constructor'].flatMap((name) => [
        `/models/${name}/manifest`,
        `/models/${name}.json`,
      ]),
      '/',
      '/shards/',
      '/models',
      '/manifests/',
      '/generate',
    ];
  }

  request(): FuzzRequest {
    const headers: Record<string, string> = {};
    if (this.#below(2) === 0) headers.range = this.#range();
    if (this.#below(4) === 0) headers['if-range'] = this.#tag();
    if (this.#below(4) === 0)
      headers['if-none-match'] = Array.from({ length: 1 + this.#below(3) }, () => this.#tag()).join(', ');
    return { method: this.#one(METHODS), path: this.#path(), headers };
  }

  #path(): string {
    let path = this.#one(this.#paths);
    for (let changes = this.#below(3) === 0 ? 1 + this.#below(4) : 0; changes > 0; changes--) {
      const at = this.#below(path.length + 1);
      const kind = this.#below(4);
      const put = kind === 0 ? this.#one(SEASONING) : kind === 1 ? String.fromCharCode(33 + this.#below(94)) : '';
      path = path.slice(0, at) + put + path.slice(at + (kind === 0 ? 0 : this.#below(3)));
      if (kind === 3) path = path.slice(0, at) + this.#one(this.#paths) + path.slice(at);
    }
    if (this.#below(200) === 0) path += 'a'.repeat(this.#below(6000));
    return path.startsWith('/') ? path : `/${path}`;
  }

  #range(): string {
    const near = () => String(this.#below(4000));
    const far = () => String(this.#one(this.#sizes) + this.#below(3) - 1);
    const number = () => this.#one([near, near, near, far, () => ''])();
    const one = () => `${number()}${this.#one(['-', '-', '-', '-', '--', ' - ', ''])}${number()}`;
    const list = Array.from({ length: this.#below(6) === 0 ? 2 + this.#below(20) : 1 }, one).join(',');
    return `${this.#one(['bytes=', 'bytes=', 'bytes=', 'bytes=', 'Bytes=', 'bytes', 'items=', 'bytes= ', ''])}${list}`;
  }

  #tag(): string {
    const digest = this.#one(this.#digests);
    return this.#one([
      `"${digest}"`,
      `"${digest}"`,
      `W/"${digest}"`,
      digest,
      '*',
      '""',
      '"',
      'Wed, 21 Oct 2015 07:28:00 GMT',
    ]);
  }

  #one<T>(of: readonly T[]): T {
    return of[this.#below(of.length)];
  }

  #below(count: number): number {
    return Math.floor((this.#next() / 2 ** 32) * count);
  }
}
