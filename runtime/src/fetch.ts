/**
 * A key and what its object must be in, the verified object out. Reads no byte more than the stated length into memory
 * that was taken from the meter before; retries a store that fails, continuing where the body broke off; asks a second
 * time where it stalls; fetches once more past all caches what has a wrong digest; then gives an error that names the
 * object. It ends in bounded time, whatever the store does.
 */

import { eitherSignal } from './either-signal.ts';
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
  /**
   * After so many milliseconds without a byte the rest is asked for a second time; whichever brings the next byte goes
   * on, the other is dropped. Default 3,000; no less than `stallMs` for never.
   */
  readonly hedgeMs?: number;
  /** Milliseconds for the whole object, retries included. Default: a minute, and what it takes at 50 kB/s. */
  readonly deadlineMs?: number;
  /** Milliseconds before try number `retry` (from 0) is made again. Default `fullJitter`. */
  readonly backoff?: (retry: number) => number;
  /** Connections in use by all fetches that share it; a stalled one is not doubled beyond six. */
  readonly connections?: { open: number };
  /** Past all caches, from the first request on. */
  readonly fresh?: boolean;
  /** Of the object's bytes; without it they are new. */
  readonly buffers?: ObjectBuffers;
}

/**
 * Memory that objects lie in one after another, so that what was read before does not wait for a collector of garbage.
 * What is taken is as long as the largest object, and given back once.
 */
export class ObjectBuffers {
  readonly #length: number;
  readonly #free: ArrayBuffer[] = [];

  /** @param length of the longest object */
  constructor(length: number) {
    this.#length = length;
  }

  take(length: number): Uint8Array {
    return new Uint8Array(this.#free.pop() ?? new ArrayBuffer(this.#length), 0, length);
  }

  /** What was taken; nobody may look at it any more. */
  give({ buffer }: Uint8Array): void {
    this.#free.push(buffer as ArrayBuffer);
  }
}

export interface Fetched {
  readonly object: VerifiedObject;
  /** Gives the bytes back to the meter, when the caller drops them. */
  readonly release: () => void;
}

/** Without a new byte, four tries in all. */
const RETRIES = 3;
const FIRST_BACKOFF_MS = 200;
const STALL_MS = 30_000;
const HEDGE_MS = 3000;
const DEADLINE_MS = 60_000;
/** Of the slowest connection over which a model is worth waiting for. */
const BYTES_PER_MS = 50;
/** What a Worker has; more wait for each other. */
export const MAX_CONNECTIONS = 6;

/** Random up to 200, 400, 800 ms: clients that failed together do not come back together. */
export const fullJitter = (retry: number, random = Math.random): number => random() * FIRST_BACKOFF_MS * (1 << retry);

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
  const { buffers } = options;
  const giveBack = options.meter?.take('fetched objects', expected.length);
  const target = buffers?.take(expected.length) ?? new Uint8Array(expected.length);
  let held = true;
  const release = () => {
    giveBack?.();
    if (held) buffers?.give(target);
    held = false;
  };
  try {
    const object = await fetchInto(target, store, key, expected.sha256, options);
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
  for (let fresh = options.fresh ?? false; ; fresh = true) {
    const { cached } = await readWithRetries({ target, exact: true, store, key, fresh, options });
    try {
      const object = await verifyObject(target, sha256, `${store.name}: ${key}`);
      if (!cached) await store.keep?.(key, object);
      return object;
    } catch (error) {
      if (fresh || !isEdgeDitError(error, 'digest-mismatch')) throw error;
    }
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
    const { received, etag } = await readWithRetries({
      target,
      exact: false,
      store,
      key,
      fresh: options.fresh ?? false,
      options,
    });
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
  /** Past caches. */
  readonly fresh: boolean;
  readonly options: FetchOptions;
}

interface Progress {
  received: number;
  cached: boolean;
  etag?: string;
}

async function readWithRetries(given: Reading): Promise<Progress> {
  const { target, exact, store, key, options } = given;
  const { backoff = fullJitter, deadlineMs = DEADLINE_MS + target.length / BYTES_PER_MS } = options;
  const late = new AbortController();
  const signal = eitherSignal(options.signal, late.signal);
  const what = `${store.name}: ${key}`;
  const timer = setTimeout(() => {
    const message = `${what}: not whole after ${deadlineMs} ms; the connection is too slow, or the store fails too often`;
    late.abort(new EdgeDitError('store-failed', message));
  }, deadlineMs);
  let { fresh } = given;
  let wrongLength: EdgeDitError | undefined;
  const progress: Progress = { received: 0, cached: false };
  try {
    for (let retry = 0; ; retry++) {
      const before = progress.received;
      try {
        await read({ ...given, fresh, options: { ...options, signal } }, progress);
        return progress;
      } catch (error) {
        throwIfAborted(signal, what);
        if (isEdgeDitError(error, 'digest-mismatch')) {
          wrongLength = error;
          fresh = true;
        } else if (!isEdgeDitError(error, 'store-failed')) throw error;
        // Only the end of the body is missing: the digest tells whether that matters.
        if (exact && progress.received === target.length) return progress;
        // What broke off is continued; a try that brought nothing counts.
        if (exact && progress.received > before) retry = 0;
        if (retry >= RETRIES) throw wrongLength ?? error;
        // Without a digest, halves of two versions would not be noticed.
        if (!exact) progress.received = 0;
        await pause(Math.max(error.retryAfterMs ?? 0, backoff(retry)), signal);
      }
    }
  } finally {
    clearTimeout(timer);
  }
}

/** One request, and another one for the rest while it stalls. */
async function read(reading: Reading, progress: Progress): Promise<void> {
  const { exact, store, key, options } = reading;
  const { stallMs = STALL_MS, hedgeMs = HEDGE_MS, connections = { open: 0 } } = options;
  const lanes = new Set<AbortController>();
  let idle: ReturnType<typeof setTimeout>;
  const done = new Promise<void>((resolve, reject) => {
    const open = () => {
      const lane = new AbortController();
      lanes.add(lane);
      connections.open++;
      const onByte = () => {
        for (const other of lanes) if (other !== lane) other.abort();
        lanes.clear();
        lanes.add(lane);
        watch();
      };
      const failed = (error: unknown) => {
        lanes.delete(lane);
        if (lanes.size === 0) reject(error);
      };
      readLane(reading, progress, lane.signal, onByte)
        .then(resolve, failed)
        .finally(() => connections.open--);
    };
    const watch = () => {
      clearTimeout(idle);
      const first = Math.min(hedgeMs, stallMs);
      idle = setTimeout(() => {
        // Two halves of an object without a digest could be of two versions.
        if (first < stallMs && connections.open < MAX_CONNECTIONS && (exact || progress.received === 0)) open();
        idle = setTimeout(() => {
          reject(new EdgeDitError('store-failed', `${store.name}: ${key}: no byte for ${stallMs} ms`));
        }, stallMs - first);
      }, first);
    };
    open();
    watch();
  });
  try {
    await done;
  } finally {
    clearTimeout(idle!);
    for (const lane of lanes) lane.abort();
  }
}

/** Fills `target` from `progress.received` on, which only the lane that brings bytes moves. */
async function readLane(
  { target, exact, store, key, fresh, options }: Reading,
  progress: Progress,
  lane: AbortSignal,
  onByte: () => void,
): Promise<void> {
  const what = `${store.name}: ${key}`;
  const wrong = (length: string) =>
    exact
      ? new EdgeDitError(
          'digest-mismatch',
          `${what}: got ${length} bytes, expected ${target.length}; purge caches on the way or publish the model again.`,
        )
      : new EdgeDitError('manifest-invalid', `${what}: got ${length} bytes, at most ${target.length} are accepted.`);
  const signal = eitherSignal(options.signal, lane);
  let reader: ReadableStreamDefaultReader<Uint8Array> | undefined;
  try {
    throwIfAborted(signal, what);
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
    reader = stored.body.getReader();
    const total = stored.size === undefined ? undefined : stored.size + (range?.offset ?? 0);
    if (total !== undefined && (exact ? total !== target.length : total > target.length)) throw wrong(String(total));
    for (;;) {
      const { done, value } = await unlessAborted(reader.read(), signal);
      // The other lane may have moved on while this one's bytes were on their way.
      throwIfAborted(signal, what);
      if (done) break;
      onByte();
      const room = target.length - progress.received;
      if (value.length > room && !exact) throw wrong(`more than ${target.length}`);
      target.set(value.subarray(0, room), progress.received);
      progress.received += Math.min(value.length, room);
      options.onBytes?.(value.length);
      // The digest tells whether what should be all of it is right, whatever may follow.
      if (value.length > room) break;
    }
    if (exact && progress.received !== target.length) {
      const error = wrong(String(progress.received));
      // What a network cut short is continued; what a cache has is wrong from its first byte on.
      if (stored.cached) progress.received = 0;
      throw error;
    }
    progress.cached = stored.cached ?? false;
    progress.etag = stored.etag;
  } catch (cause) {
    throwIfAborted(options.signal, what);
    throw storeFailed(store.name, 'get', key, cause);
  } finally {
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
