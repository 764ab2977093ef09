/**
 * An HTTP proxy that spoils answers, at a rate and from a seed. In: the address of a server. Out: an address that answers as
 * the server does, but for faults. Each fault strikes a GET with the same probability; no GET has two. Requests are
 * passed on as they are, `host` included, so that signed ones stay valid.
 */
import { createServer, request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { randomBits } from './random-bits.ts';

export const FAULTS = ['reset', 'truncate', 'flip', 'error', 'slow', 'stall', 'length', 'stale'] as const;
export type Fault = (typeof FAULTS)[number];

export interface FaultProxyOptions {
  /** Address of the server, without a path. */
  readonly upstream: string;
  readonly seed: number;
  /** Probability of each fault, at most 1/8. */
  readonly rate: number;
}

export interface FaultProxy {
  readonly url: string;
  /** May be changed while it runs. */
  rate: number;
  requests: number;
  readonly counts: Record<Fault, number>;
  close(): Promise<void>;
}

interface Answer {
  readonly status: number;
  readonly headers: Record<string, string | string[] | undefined>;
  readonly body: Buffer;
}

/** A slow body takes so long in so many pieces. */
const SLOW_MS = 400;
const SLOW_PIECES = 8;
/** Bodies that a stale answer is taken from. */
const MAX_REMEMBERED = 64;

export async function startFaultProxy({ upstream, seed, rate }: FaultProxyOptions): Promise<FaultProxy> {
  const random = randomBits(seed);
  const unit = () => random() / 2 ** 32;
  const past = new Past(unit);
  const counts = Object.fromEntries(FAULTS.map((fault) => [fault, 0])) as Record<Fault, number>;
  const server = createServer(async (request, response) => {
    response.on('error', () => {});
    try {
      const answer = await forward(upstream, request);
      const stale = past.instead(request.url ?? '', answer);
      past.remember(request.url ?? '', answer);
      if (request.method !== 'GET') return void send(response, answer);
      proxy.requests++;
      const drawn = FAULTS[Math.floor(unit() / proxy.rate)] as Fault | undefined;
      const fault = possible(drawn, request, answer, stale) ? drawn : undefined;
      if (fault === undefined) return void send(response, answer);
      counts[fault]++;
      spoil[fault](response, answer, unit, stale ?? answer);
    } catch {
      response.destroy();
    }
  });
  await new Promise<void>((ready) => server.listen(0, '127.0.0.1', ready));
  const close = () =>
    new Promise<void>((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const proxy: FaultProxy = { url, rate, requests: 0, counts, close };
  return proxy;
}

function possible(
  fault: Fault | undefined,
  request: IncomingMessage,
  { status, body }: Answer,
  stale?: Answer,
): boolean {
  if (fault === undefined || fault === 'error') return fault !== undefined;
  if (status !== 200 && status !== 206) return false;
  // A client that asks past caches gets past this one.
  if (fault === 'stale') return stale !== undefined && request.headers['cache-control'] !== 'no-cache';
  return body.length > 1;
}

type Spoil = (response: ServerResponse, answer: Answer, unit: () => number, stale: Answer) => void;

const spoil: Readonly<Record<Fault, Spoil>> = {
  /** Part of the body, then a reset. */
  reset: (response, answer, unit) => {
    part(response, answer, unit, () => response.socket?.resetAndDestroy());
  },
  /** Part of the body, and an end that looks like one: of the connection, of a chunked body, or of a shorter length. */
  truncate: (response, answer, unit) => {
    const kind = Math.floor(3 * unit());
    if (kind === 0) return part(response, answer, unit, () => response.socket?.end());
    const body = answer.body.subarray(0, cut(answer, unit));
    const { 'content-length': _, ...headers } = answer.headers;
    if (kind === 1) return send(response, { ...answer, headers, body });
    send(response, withLength({ ...answer, body }));
  },
  flip: (response, answer, unit) => {
    const body = Buffer.from(answer.body);
    body[Math.floor(unit() * body.length)] ^= 1 << Math.floor(8 * unit());
    send(response, { ...answer, body });
  },
  error: (response, _, unit) => {
    const status = unit() < 0.5 ? 500 : 503;
    const headers: Record<string, string> = { 'content-type': 'text/plain' };
    if (status === 503 && unit() < 0.5) headers['retry-after'] = unit() < 0.5 ? '0' : '1';
    send(response, withLength({ status, headers, body: Buffer.from('fault') }));
  },
  slow: (response, { status, headers, body }) => {
    response.writeHead(status, headers);
    const piece = Math.ceil(body.length / SLOW_PIECES);
    let at = 0;
    const timer = setInterval(() => {
      response.write(body.subarray(at, (at += piece)));
      if (at < body.length) return;
      clearInterval(timer);
      response.end();
    }, SLOW_MS / SLOW_PIECES);
    response.on('close', () => clearInterval(timer));
  },
  /** Part of the body, or not even an answer, and then nothing until the client leaves. */
  stall: (response, answer, unit) => {
    if (unit() < 0.5) part(response, answer, unit, () => {});
  },
  /** More bytes than there are. */
  length: (response, answer, unit) => {
    const more = Buffer.alloc(1 + Math.floor(1000 * unit()), 7);
    const whole = withLength({ ...answer, body: Buffer.concat([answer.body, more]) });
    const { 'content-length': _, ...chunked } = whole.headers;
    send(response, unit() < 0.5 ? whole : { ...whole, headers: chunked });
  },
  stale: (response, _answer, _unit, stale) => send(response, stale),
};

function send(response: ServerResponse, { status, headers, body }: Answer): void {
  response.writeHead(status, headers).end(body);
}

/** Announces all, sends some, and then does `after`. */
function part(response: ServerResponse, answer: Answer, unit: () => number, after: () => void): void {
  response.writeHead(answer.status, answer.headers);
  // What was written is to arrive before the connection breaks.
  response.write(answer.body.subarray(0, cut(answer, unit)), () => setTimeout(after, 5));
}

const cut = ({ body }: Answer, unit: () => number) => 1 + Math.floor(unit() * (body.length - 1));

function withLength(answer: Answer): Answer {
  return { ...answer, headers: { ...answer.headers, 'content-length': String(answer.body.length) } };
}

/** A page that somebody's cache took for the object: of a portal, or of an error of yesterday. */
const PAGE: Answer = withLength({
  status: 200,
  headers: { 'content-type': 'text/html' },
  body: Buffer.from('<!doctype html><title>Please log in</title>'),
});

/** What a cache that has lost its way sends: the first version of this object, another object, or a page. */
class Past {
  readonly #unit: () => number;
  readonly #first = new Map<string, Answer>();

  constructor(unit: () => number) {
    this.#unit = unit;
  }

  remember(url: string, answer: Answer): void {
    const { status } = answer;
    if (status === 200 && this.#first.size < MAX_REMEMBERED && !this.#first.has(url)) this.#first.set(url, answer);
  }

  instead(url: string, answer: Answer): Answer | undefined {
    const first = this.#first.get(url);
    if (first !== undefined && !first.body.equals(answer.body) && answer.status === 200) return first;
    const others = [...this.#first].filter(([other]) => other !== url && other.includes('/shards/'));
    if (!url.includes('/shards/') || others.length === 0 || this.#unit() < 0.5) return PAGE;
    const [, other] = others[Math.floor(this.#unit() * others.length)];
    // A part of another object has the length that was asked for.
    if (answer.status === 200 || other.body.length < answer.body.length) return other;
    return { ...answer, body: other.body.subarray(0, answer.body.length) };
  }
}

function forward(upstream: string, request: IncomingMessage): Promise<Answer> {
  const { hostname, port } = new URL(upstream);
  return new Promise((resolve, reject) => {
    const { method, url: path, headers } = request;
    const outgoing = httpRequest({ hostname, port, method, path, headers }, (incoming) => {
      const chunks: Buffer[] = [];
      incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
      incoming.on('error', reject);
      incoming.on('end', () => {
        const { connection: _, 'transfer-encoding': __, 'keep-alive': ___, ...rest } = incoming.headers;
        resolve({ status: incoming.statusCode ?? 502, headers: rest, body: Buffer.concat(chunks) });
      });
    });
    outgoing.on('error', reject);
    request.pipe(outgoing);
  });
}
