/**
 * A key and what its object must be in, the verified object out. Reads no byte more than the stated length into memory
 * that was taken from the meter before; retries a store that fails, continuing where the body broke off; fetches once
 * more past all caches what has a wrong digest; then gives an error that names the object.
 */
import { EdgeDitError, isEdgeDitError } from './errors.ts';
import { MAX_SHARD_BYTES } from './format/limits.ts';
import type { Meter } from './meter.ts';
import type { Store } from './stores/store.ts';
import { storeFailed, throwIfAborted } from './stores/store-error.ts';
import { type VerifiedObject, verifyObject } from './verify.ts';

export interface Expected {
  readonly sha256: string;
  /** Bytes; exactly. */
  readonly length: number;
}

export interface FetchOptions {
  readonly signal?: AbortSignal;
  /** Pays for the object until `release` is called. */
  readonly meter?: Meter;
  /** Is told of bytes as they arrive, those that a retry fetches again included. */
  readonly onBytes?: (count: number) => void;
  /** The longest time without a byte, in milliseconds. Default 30,000. */
  readonly stallMs?: number;
}

export interface Fetched {
  readonly object: VerifiedObject;
  /** Gives the bytes back to the meter, when the caller drops them. */
  readonly release: () => void;
}

/** Four tries in all; the waits before them are random up to 200, 400 and 800 ms. */
const RETRIES = 3;
const FIRST_BACKOFF_MS = 200;
const STALL_MS = 30_000;

/**
 * Fetches and verifies one object of at most 16 MiB.
 * @throws EdgeDitError `object-missing`, `digest-mismatch` (wrong length included), `store-failed`, `store-denied`,
 *   `memory-exceeded`, `aborted`
 */
export async function fetchObject(
  store: Store,
  key: string,
  expected: Expected,
  options: FetchOptions = {},
): Promise<Fetched> {
  if (expected.length > MAX_SHARD_BYTES) {
    throw new EdgeDitError(
      'invalid-argument',
      `${key}: ${expected.length} bytes, an object has at most ${MAX_SHARD_BYTES}.`,
    );
  }
  const release = options.meter?.take('fetched objects', expected.length) ?? (() => {});
  try {
    const object = await fetchInto(new Uint8Array(expected.length), store, key, expected.sha256, options);
    return { object, release };
  } catch (error) {
    release();
    throw error;
  }
}

/** As `fetchObject`, into memory that the caller has: `target` is as long as the object. */
export async function fetchInto(
  target: Uint8Array,
  store: Store,
  key: string,
  sha256: string,
  options: FetchOptions = {},
): Promise<VerifiedObject> {
  const what = `${store.name}: ${key}`;
  const attempt = async (fresh: boolean) => {
    const { cached } = await readWithRetries({ target, exact: true, store, key, fresh, options });
    const object = await verifyObject(target, sha256, what);
    if (!cached) await store.keep?.(key, object);
    return object;
  };
  try {
    return await attempt(false);
  } catch (error) {
    if (!isEdgeDitError(error, 'digest-mismatch')) throw error;
    return await attempt(true);
  }
}

/**
 * Reads a small object that has no digest of its own, such as a pointer.
 * @throws EdgeDitError `manifest-invalid` beyond `maxBytes`; `store-failed`, `store-denied`, `aborted`
 */
export async function readSmall(
  store: Store,
  key: string,
  maxBytes: number,
  options: FetchOptions = {},
): Promise<{ bytes: Uint8Array; etag?: string } | undefined> {
  const target = new Uint8Array(maxBytes);
  try {
    const { received, etag } = await readWithRetries({ target, exact: false, store, key, fresh: false, options });
    return { bytes: target.subarray(0, received), etag };
  } catch (error) {
    if (isEdgeDitError(error, 'object-missing')) return undefined;
    throw error;
  }
}

interface Reading {
  readonly target: Uint8Array;
  /** The object is as long as `target`, and not only at most. */
  readonly exact: boolean;
  readonly store: Store;
  readonly key: string;
  readonly fresh: boolean;
  readonly options: FetchOptions;
}

interface Progress {
  received: number;
  cached: boolean;
  etag?: string;
}

async function readWithRetries(reading: Reading): Promise<Progress> {
  const progress: Progress = { received: 0, cached: false };
  for (let retry = 0; ; retry++) {
    try {
      await read(reading, progress);
      return progress;
    } catch (error) {
      if (!isEdgeDitError(error, 'store-failed')) throw error;
      // Only the end of the body is missing: the digest tells whether that matters.
      if (reading.exact && progress.received === reading.target.length) return progress;
      if (retry >= RETRIES) throw error;
      // Without a digest, halves of two versions would not be noticed.
      if (!reading.exact) progress.received = 0;
      await pause(Math.random() * FIRST_BACKOFF_MS * (1 << retry), reading.options.signal);
    }
  }
}

/** One request: fills `target` from `progress.received` on. */
async function read({ target, exact, store, key, fresh, options }: Reading, progress: Progress): Promise<void> {
  const what = `${store.name}: ${key}`;
  const { stallMs = STALL_MS } = options;
  throwIfAborted(options.signal, what);
  const wrong = (length: string) =>
    exact
      ? new EdgeDitError(
          'digest-mismatch',
          `${what}: got ${length} bytes, expected ${target.length}; purge caches on the way or publish the model again.`,
        )
      : new EdgeDitError('manifest-invalid', `${what}: got ${length} bytes, at most ${target.length} are accepted.`);
  const stall = new AbortController();
  const signal = options.signal === undefined ? stall.signal : AbortSignal.any([options.signal, stall.signal]);
  let timer = setTimeout(() => stall.abort(), stallMs);
  let reader: ReadableStreamDefaultReader<Uint8Array> | undefined;
  try {
    const range = progress.received === 0 ? undefined : { offset: progress.received };
    const getting = store.get(key, { signal, fresh, range });
    const stored = await unlessAborted(getting, signal).catch((cause) => {
      // Whatever comes too late holds a connection or a file.
      getting.then((late) => late?.body.cancel()).catch(() => {});
      throw cause;
    });
    if (stored === undefined) {
      throw new EdgeDitError('object-missing', `${what}: there is no such object; publish the model again.`);
    }
    progress.cached = stored.cached ?? false;
    progress.etag = stored.etag;
    reader = stored.body.getReader();
    const total = stored.size === undefined ? undefined : stored.size + progress.received;
    if (total !== undefined && (exact ? total !== target.length : total > target.length)) throw wrong(String(total));
    for (;;) {
      const { done, value } = await unlessAborted(reader.read(), signal);
      if (done) break;
      clearTimeout(timer);
      timer = setTimeout(() => stall.abort(), stallMs);
      if (progress.received + value.length > target.length) throw wrong(`more than ${target.length}`);
      target.set(value, progress.received);
      progress.received += value.length;
      options.onBytes?.(value.length);
    }
    if (exact && progress.received !== target.length) throw wrong(String(progress.received));
  } catch (cause) {
    throwIfAborted(options.signal, what);
    if (stall.signal.aborted) {
      throw new EdgeDitError('store-failed', `${what}: no byte for ${stallMs} ms`, { cause });
    }
    throw storeFailed(store.name, 'get', key, cause);
  } finally {
    clearTimeout(timer);
    // Of a body that was read to its end this is a no-op; of any other it frees the connection.
    reader?.cancel().catch(() => {});
  }
}

/** The promise, or a rejection as soon as the signal aborts: not every store and stream listens to it. */
function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    if (signal.aborted) abort();
    signal.addEventListener('abort', abort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
  });
}

function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(done, ms);
    function done() {
      clearTimeout(timer);
      signal?.removeEventListener('abort', done);
      resolve();
    }
    signal?.addEventListener('abort', done, { once: true });
  });
}
