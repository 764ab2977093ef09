/**
 * A store that answers without a network what it said before: pointers and manifests, which `cached` leaves alone. In: a
 * store and a place to remember in. A pointer is asked for each time, and the last one is given where nobody answers in
 * time; a manifest, which its digest names, is asked for once. Signatures and digests are checked by the reader as always.
 */

import { eitherSignal } from '../either-signal.ts';
import { EdgeDitError } from '../errors.ts';
import { digestOfKey, manifestKey } from '../format/keys.ts';
import { MAX_POINTER_BYTES } from '../format/limits.ts';
import type { VerifiedObject } from '../verify.ts';
import { streamOf } from './body.ts';
import type { CacheLike } from './cached.ts';
import type { GetOptions, Store, StoredObject } from './store.ts';
import { throwIfAborted } from './store-error.ts';

export interface RememberedOptions {
  /** Milliseconds in which a pointer must come before the last one is taken. Default 3000. */
  readonly patienceMs?: number;
  /** Is told when what was remembered is given, and why. */
  readonly onRemembered?: (key: string, reason: unknown) => void;
  /** Is told what could not be remembered. */
  readonly onError?: (error: unknown) => void;
}

const PATIENCE_MS = 3000;

export function remembered(store: Store, memory: CacheLike, options: RememberedOptions = {}): Store {
  const { patienceMs = PATIENCE_MS, onRemembered, onError = () => {} } = options;
  const pointer = async (key: string, asked: GetOptions): Promise<StoredObject | undefined> => {
    const late = new AbortController();
    const timer = setTimeout(() => {
      const message = `${store.name}: ${key}: no answer in ${patienceMs} ms`;
      late.abort(new EdgeDitError('store-failed', message));
    }, patienceMs);
    const { signal } = late;
    try {
      const answer = await raced(wholeOf(store, key, asked, signal), signal);
      if (answer === undefined) await memory.delete(key).catch(onError);
      else await memory.put(key, answer.bytes).catch(onError);
      return answer && { etag: answer.etag, size: answer.bytes.length, body: streamOf(answer.bytes) };
    } catch (reason) {
      throwIfAborted(asked.signal, `${store.name}: get ${key}`);
      const body = asked.fresh ? undefined : await memory.match(key);
      if (body === undefined) throw reason;
      onRemembered?.(key, reason);
      return { body, cached: true };
    } finally {
      clearTimeout(timer);
    }
  };
  return {
    name: store.name,
    async get(key: string, asked: GetOptions = {}): Promise<StoredObject | undefined> {
      if (digestOfKey(key) !== undefined || asked.range !== undefined) return store.get(key, asked);
      if (key.startsWith('models/')) return pointer(key, asked);
      if (asked.fresh) await memory.delete(key).catch(onError);
      const body = asked.fresh ? undefined : await memory.match(key);
      return body === undefined ? store.get(key, asked) : { body, cached: true };
    },
    async keep(key: string, object: VerifiedObject): Promise<void> {
      await store.keep?.(key, object);
      if (key === manifestKey(object.sha256)) await memory.put(key, object.bytes).catch(onError);
    },
  };
}

async function wholeOf(store: Store, key: string, asked: GetOptions, late: AbortSignal) {
  const signal = eitherSignal(asked.signal, late);
  const stored = await store.get(key, { ...asked, signal });
  if (stored === undefined) return undefined;
  const reader = stored.body.getReader();
  const parts: Uint8Array[] = [];
  let length = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    parts.push(value);
    length += value.length;
    if (length > MAX_POINTER_BYTES) {
      await reader.cancel();
      throw new EdgeDitError('manifest-invalid', `${store.name}: ${key} has more than ${MAX_POINTER_BYTES} bytes.`);
    }
  }
  const bytes = new Uint8Array(await new Blob(parts as Uint8Array<ArrayBuffer>[]).arrayBuffer());
  return { bytes, etag: stored.etag };
}

function raced<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
    work.then(resolve, reject);
  });
}
