/**
 * Published models over HTTP, for phones and other edges: what a worker or a page gives to `HttpStore` as its address. Has
 * the keys of a store as its paths, and `/models/<id>/manifest` besides. Every byte that it sends was verified, so what
 * is near to a client need not be trusted less than S3. Lists nothing, and gives only what the models that it serves name.
 */
import { isEdgeDitError } from '@edge-dit/runtime/errors';
import { manifestKey, SHA256_HEX, shardKey } from '@edge-dit/runtime/format/keys';
import type { Store } from '@edge-dit/runtime/stores/store';
import { sha256Hex } from '@edge-dit/runtime/verify';
import type { Context, MiddlewareHandler } from 'hono';
import { cors } from 'hono/cors';
import { Hono } from 'hono/tiny';
import { Problem, problemDetails, problemResponse } from '../problem.ts';
import { select } from './byte-range.ts';
import { type HeldObject, HeldObjects } from './held-objects.ts';
import { ServedObjects } from './served-objects.ts';
import { UrlSigner } from './signed-urls.ts';

export interface GatewayOptions {
  /** Wrap it in `cached`, to ask what is far away once. */
  readonly store: Store;
  /** Names of the models that are served. */
  readonly models: readonly string[];
  /** Origins of pages that may read, such as `https://example.com`, or `*` for all. Default: those of the gateway itself. */
  readonly cors?: readonly string[] | '*';
  /** Only addresses signed with this secret are answered: see `UrlSigner`. */
  readonly secret?: string;
  /** Bytes of objects in memory, on their way or kept. Default 64 MiB. */
  readonly heldBytes?: number;
  /** How long a publication may take to be seen, in milliseconds. Default 5000. */
  readonly refreshMs?: number;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
  readonly logger?: { error(message: string, cause?: unknown): void };
}

const HELD_BYTES = 64 * 2 ** 20;
const REFRESH_MS = 5000;
const YEAR = 31_536_000;
const FIRST_SERVER_ERROR = 500;
const CHUNK_BYTES = 65_536;
const EXPOSED = ['accept-ranges', 'content-length', 'content-range', 'etag', 'retry-after'];

export function createGateway(options: GatewayOptions): Hono {
  const { store, models, secret, heldBytes = HELD_BYTES, refreshMs = REFRESH_MS } = options;
  const { now = Date.now, logger = console } = options;
  const served = new ServedObjects({ store, models, refreshMs, now });
  const held = new HeldObjects(store, heldBytes);
  const forever = `${secret === undefined ? 'public' : 'private'}, max-age=${YEAR}, immutable`;
  const app = new Hono();
  app.onError((error, c) => {
    if (isEdgeDitError(error, 'memory-exceeded')) {
      const busy = new Problem('busy', 'all that may be held is on its way to others; come back.');
      return problemResponse(problemDetails(busy), { 'retry-after': '1' });
    }
    const details = problemDetails(error, (text) => text.replaceAll(store.name, 'the store'));
    if (details.status >= FIRST_SERVER_ERROR) logger.error(`${c.req.method} ${c.req.path}: ${details.status}`, error);
    return problemResponse(details, error instanceof Problem ? error.headers : {});
  });

  if (options.cors !== undefined) {
    const origin = options.cors === '*' ? '*' : [...options.cors];
    app.use(cors({ origin, allowMethods: ['GET', 'HEAD'], exposeHeaders: EXPOSED, maxAge: 86_400 }));
  }
  if (secret !== undefined) app.use(requireSignature(new UrlSigner(secret), now));

  const object = async (c: Context, key: string, cacheControl: string, type?: string) => {
    const expected = await served.find(key);
    if (expected === undefined) throw nothingHere();
    return answer(c, await held.use(key, expected), { etag: expected.sha256, cacheControl, type });
  };

  app.get('/shards/:digest', (c) => object(c, shardKey(digestOf(c.req.param('digest'))), forever));
  app.get('/manifests/:name', (c) => {
    const [, digest = ''] = /^(.*)\.json$/.exec(c.req.param('name')) ?? [];
    return object(c, manifestKey(digestOf(digest)), forever, JSON_TYPE);
  });
  app.get('/models/:id/manifest', async (c) => {
    const { digest } = await served.model(c.req.param('id'));
    return object(c, manifestKey(digest), 'no-cache', JSON_TYPE);
  });
  app.get('/models/:name', async (c) => {
    const [, id] = /^(.*)\.json$/.exec(c.req.param('name')) ?? [];
    if (id === undefined) throw nothingHere();
    const { pointer } = await served.model(id);
    const etag = await sha256Hex(pointer);
    return answer(c, { bytes: pointer, release() {} }, { etag, cacheControl: 'no-cache', type: JSON_TYPE });
  });

  for (const path of PATHS) {
    app.all(path, (c) => {
      throw new Problem('method-not-allowed', `takes GET and HEAD, not ${c.req.method}.`, {
        headers: { allow: 'GET, HEAD' },
      });
    });
  }
  app.notFound(() => problemResponse(problemDetails(nothingHere())));
  return app;
}

const PATHS = ['/shards/:digest', '/manifests/:name', '/models/:id/manifest', '/models/:name'];
const JSON_TYPE = 'application/json';

const nothingHere = () => new Problem('route-not-found', 'there is nothing here, or no model that is served names it.');

function digestOf(text: string): string {
  if (!SHA256_HEX.test(text)) throw nothingHere();
  return text;
}

interface Description {
  /** Without quotes. */
  readonly etag: string;
  readonly cacheControl: string;
  readonly type?: string;
}

/** The object, the part of it that was asked for, or that the client has it; then gives it back. */
function answer(c: Context, { bytes, release }: HeldObject, { etag, cacheControl, type }: Description): Response {
  const selection = select(c.req.raw.headers, `"${etag}"`, bytes.length);
  const { status } = selection;
  const headers = new Headers({
    etag: `"${etag}"`,
    'cache-control': cacheControl,
    'accept-ranges': 'bytes',
    // For pages that are isolated from other origins; who may read is said by CORS.
    'cross-origin-resource-policy': 'cross-origin',
    'x-content-type-options': 'nosniff',
  });
  if (!('start' in selection)) {
    release();
    if (status === 416) headers.set('content-range', `bytes */${bytes.length}`);
    return new Response(null, { status, headers });
  }
  const { start, end } = selection;
  headers.set('content-type', type ?? 'application/octet-stream');
  headers.set('content-length', String(end - start));
  if (status === 206) headers.set('content-range', `bytes ${start}-${end - 1}/${bytes.length}`);
  if (c.req.method === 'HEAD') {
    release();
    return new Response(null, { status, headers });
  }
  return new Response(streamOf(bytes.subarray(start, end), release), { status, headers });
}

/** In pieces, as the client takes them, so that it is known when the bytes are free. */
function streamOf(bytes: Uint8Array, release: () => void): ReadableStream<Uint8Array> {
  let at = 0;
  const pull = (controller: ReadableStreamDefaultController<Uint8Array>) => {
    // Copied: a host may take a chunk's buffer for itself.
    controller.enqueue(bytes.slice(at, (at += CHUNK_BYTES)));
    if (at < bytes.length) return;
    controller.close();
    release();
  };
  return new ReadableStream({ pull, cancel: release }, { highWaterMark: 0 });
}

function requireSignature(signer: UrlSigner, now: () => number): MiddlewareHandler {
  return async (c, next) => {
    if (await signer.accepts(new URL(c.req.url), now())) return next();
    const detail = 'the address is not signed, or has expired; ask whoever gave it to you for a new one.';
    return problemResponse({ type: 'about:blank', title: 'Forbidden', status: 403, detail });
  };
}
