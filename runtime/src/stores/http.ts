/** A read-only store over HTTP(S): an object is at the base URL, a slash, its key. For CDNs, buckets and gateways. */
import { EdgeDitError } from '../errors.ts';
import { checkKey } from '../format/keys.ts';
import { sliceStream } from './body.ts';
import type { GetOptions, Store, StoredObject } from './store.ts';
import { aborted, throwIfAborted } from './store-error.ts';

/** A server may ask for more; a load has no time for it. */
const MAX_RETRY_AFTER_MS = 10_000;

export interface HttpStoreOptions {
  /** Sent with each request, for example `authorization`. Never shown in messages. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly fetch?: (url: string, init: RequestInit) => Promise<Response>;
}

export class HttpStore implements Store {
  readonly name: string;
  readonly #base: URL;
  readonly #options: HttpStoreOptions;

  /** `base` may have a query (a token), which goes with each request and is not shown in messages. */
  constructor(base: string, options: HttpStoreOptions = {}) {
    if (!URL.canParse(base) || !/^https?:$/.test(new URL(base).protocol)) {
      throw new EdgeDitError('invalid-argument', `an HTTP store needs a URL that starts with http:// or https://.`);
    }
    this.#base = new URL(base);
    // Fetch refuses them, and says them when it does.
    if (this.#base.username !== '' || this.#base.password !== '') {
      throw new EdgeDitError(
        'invalid-argument',
        `${withoutSecrets(this.#base)}: no user and password in an address; send an authorization header.`,
      );
    }
    this.#options = options;
    this.name = withoutSecrets(this.#base);
  }

  async get(key: string, { signal, range, fresh }: GetOptions = {}): Promise<StoredObject | undefined> {
    checkKey(key);
    const url = new URL(this.#base);
    url.pathname = `${url.pathname.replace(/\/$/, '')}/${key}`;
    const what = `[GET] "${withoutSecrets(url)}"`;
    throwIfAborted(signal, what);
    const headers = new Headers(this.#options.headers);
    if (fresh) headers.set('cache-control', 'no-cache');
    if (range !== undefined) {
      const last = range.length === undefined ? '' : range.offset + range.length - 1;
      headers.set('range', `bytes=${range.offset}-${last}`);
    }
    const response = await this.#fetch(url, { headers, signal }, what);
    const { status, body } = response;
    if (status !== 200 && status !== 206) {
      await body?.cancel();
      if (status === 404 || status === 410) return undefined;
      if (status === 401 || status === 403) {
        throw new EdgeDitError(
          'store-denied',
          `${what}: ${status}; check the credentials, and that the object exists.`,
        );
      }
      // Seconds; a date is not read.
      const retryAfterMs = Math.min(1000 * (Number(response.headers.get('retry-after')) || 0), MAX_RETRY_AFTER_MS);
      throw new EdgeDitError('store-failed', `${what}: ${status}`, { retryAfterMs });
    }
    if (body === null) throw new EdgeDitError('store-failed', `${what}: ${status} without a body`);
    const etag = response.headers.get('etag') ?? undefined;
    // A server may ignore Range and send all.
    if (range !== undefined && status === 200) {
      return { etag, body: sliceStream(body, range.offset, range.length) };
    }
    const length = response.headers.get('content-length');
    const encoded = response.headers.has('content-encoding');
    return { size: length === null || encoded ? undefined : Number(length), etag, body };
  }

  async #fetch(url: URL, init: RequestInit, what: string): Promise<Response> {
    const send = this.#options.fetch ?? ((input: string, options: RequestInit) => fetch(input, options));
    try {
      return await send(url.href, init);
    } catch (cause) {
      if (init.signal?.aborted) throw aborted(what);
      const inner = cause instanceof Error && cause.cause instanceof Error ? cause.cause : cause;
      const reason = inner instanceof Error ? inner.message.slice(0, 200) : 'no answer';
      throw new EdgeDitError('store-failed', `${what}: ${reason}`, { cause });
    }
  }
}

/** The URL less query, fragment and user: what may hold secrets. */
function withoutSecrets(url: URL): string {
  return `${url.protocol}//${url.host}${url.pathname}`;
}
