/**
 * A store as a read-only HTTP server on this machine, so that a worker can fetch from what only Node can open (a folder,
 * S3 with credentials). Gives `shards/`, `manifests/` and `models/`, whole or by Range, as streams. The address holds
 * a random token: other programs of the machine cannot read the store through it.
 */
import { randomUUID } from 'node:crypto';
import { isEdgeDitError } from '@edge-dit/runtime/errors';
import type { GetOptions, Store } from '@edge-dit/runtime/stores/store';
import { Hono } from 'hono';
import { type ListenOptions, listen, type Served } from './listen.ts';

export interface StoreServerOptions extends ListenOptions {
  /** Sees the key of each request that is answered from the store. */
  readonly onRequest?: (key: string) => void;
}

/** The result's `url` has a query: it is the base for an HTTP store as it is. */
export async function serveStore(store: Store, options: StoreServerOptions = {}): Promise<Served> {
  const token = randomUUID();
  const app = new Hono();
  app.use(async (c, next) => (c.req.query('token') === token ? next() : c.text('Forbidden', 403)));
  app.get('/:folder{shards|manifests|models}/:name', async (c) => {
    const { folder, name } = c.req.param();
    const key = `${folder}/${name}`;
    options.onRequest?.(key);
    const range = rangeOf(c.req.header('range'));
    const fresh = c.req.header('cache-control') === 'no-cache';
    const object = await store.get(key, { range, fresh, signal: c.req.raw.signal });
    if (object === undefined) return c.notFound();
    const headers = new Headers({ 'content-type': 'application/octet-stream', 'accept-ranges': 'bytes' });
    if (object.etag !== undefined) headers.set('etag', `"${object.etag.replaceAll('"', '')}"`);
    if (object.size !== undefined) headers.set('content-length', String(object.size));
    if (range === undefined) return new Response(object.body, { headers });
    const last = object.size === undefined ? undefined : range.offset + object.size - 1;
    // Without its last byte a range cannot be described; the store's readers tell a part by the status.
    if (last !== undefined && last >= range.offset) headers.set('content-range', `bytes ${range.offset}-${last}/*`);
    return new Response(object.body, { status: 206, headers });
  });
  app.onError((error, c) => {
    if (isEdgeDitError(error, 'invalid-argument')) return c.text('Not Found', 404);
    return c.text('Bad Gateway', isEdgeDitError(error, 'store-denied') ? 403 : 502);
  });
  const served = await listen(app.fetch, options);
  return { url: `${served.url}/?token=${token}`, close: served.close };
}

/** `bytes=a-b` and `bytes=a-`; any other form may be ignored, and is. */
function rangeOf(header: string | undefined): GetOptions['range'] {
  const match = /^bytes=(\d{1,15})-(\d{1,15})?$/.exec(header ?? '');
  if (match === null) return undefined;
  const offset = Number(match[1]);
  if (match[2] === undefined) return { offset };
  const length = Number(match[2]) - offset + 1;
  return length > 0 ? { offset, length } : undefined;
}
