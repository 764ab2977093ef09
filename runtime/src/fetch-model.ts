/** A manifest in, its verified shards and files out: a few requests at a time, results in order, bytes paid to a meter. */

import { eitherSignal } from './either-signal.ts';
import { EdgeDitError, isEdgeDitError } from './errors.ts';
import { type Fetched, type FetchOptions, fetchInto, fetchObject, MAX_CONNECTIONS } from './fetch.ts';
import { shardKey } from './format/keys.ts';
import { PART_BYTES } from './format/limits.ts';
import type { FileRecord, Manifest } from './format/manifest.ts';
import type { Store } from './stores/store.ts';
import { shardOf, type VerifiedShard, verifyObject } from './verify.ts';

/** Of six connections; two are left for what stalls and for the other requests of the isolate. */
const DEFAULT_CONCURRENCY = 4;

export interface FetchModelOptions extends FetchOptions {
  /** Objects at once, 1 to 6. Default 4. */
  readonly concurrency?: number;
  /** Is told of each shard that is whole and verified. */
  readonly onShard?: (index: number) => void;
  /** Which shards, by their indices, and in which order; some may come again. Default: all, as the manifest has them. */
  readonly order?: Iterable<number>;
}

export interface FetchedShard {
  /** Of the shard in the manifest. */
  readonly index: number;
  readonly shard: VerifiedShard;
  /** Gives the bytes back to the meter, when the caller drops them. */
  readonly release: () => void;
}

/**
 * Yields shards of a model in order. While the caller holds one, at most `concurrency - 1` more are in memory; where
 * the meter has no room for so many, fewer are fetched ahead, and only a shard that does not fit alone is an error.
 * Leaving the loop early cancels what is under way.
 * @throws EdgeDitError as `fetchObject`, and `shard-malformed`
 */
export async function* fetchShards(
  store: Store,
  manifest: Pick<Manifest, 'shards' | 'tensors'>,
  options: FetchModelOptions = {},
): AsyncGenerator<FetchedShard, void, undefined> {
  const concurrency = checkConcurrency(options.concurrency);
  const counts = new Array<number>(manifest.shards.length).fill(0);
  for (const tensor of manifest.tensors) counts[tensor.shard]++;
  const leave = new AbortController();
  const signal = eitherSignal(options.signal, leave.signal);
  const shared = { connections: { open: 0 }, ...options, signal };
  const order = (options.order ?? manifest.shards.keys())[Symbol.iterator]();
  const ahead: { index: number; fetched: Promise<Fetched | { error: unknown }> }[] = [];
  let next = order.next();
  // A rejection is kept as a value until its turn comes: nobody else handles it.
  const start = (index: number) => {
    const expected = manifest.shards[index];
    const fetched = fetchObject(store, shardKey(expected.sha256), expected, shared);
    ahead.push({ index, fetched: fetched.catch((error: unknown) => ({ error })) });
    next = order.next();
  };
  const fits = (index: number) => {
    const { meter } = options;
    return meter === undefined || meter.current + manifest.shards[index].length <= meter.budget;
  };
  try {
    for (;;) {
      while (!next.done && ahead.length < concurrency && (ahead.length === 0 || fits(next.value))) start(next.value);
      const first = ahead.shift();
      if (first === undefined) return;
      const { index } = first;
      const fetched = await first.fetched;
      if ('error' in fetched) throw fetched.error;
      const { object, release } = fetched;
      options.onShard?.(index);
      try {
        const what = `shard ${index} (${store.name}: ${shardKey(object.sha256)})`;
        yield { index, shard: shardOf(object, what, counts[index]), release };
      } catch (error) {
        release();
        throw error;
      }
    }
  } finally {
    leave.abort();
    for (const { fetched } of ahead) {
      const late = await fetched;
      if (!('error' in late)) late.release();
    }
  }
}

export interface FetchedFile {
  readonly bytes: Uint8Array;
  /** Gives the bytes back to the meter, when the caller drops them. */
  readonly release: () => void;
}

/**
 * Fetches an auxiliary file: its parts, each verified, straight into one buffer, then the digest of the whole.
 * @throws EdgeDitError as `fetchObject`
 */
export async function fetchFile(store: Store, file: FileRecord, options: FetchModelOptions = {}): Promise<FetchedFile> {
  const concurrency = checkConcurrency(options.concurrency);
  const release = options.meter?.take(`file ${file.name}`, file.length) ?? (() => {});
  const leave = new AbortController();
  const signal = eitherSignal(options.signal, leave.signal);
  const shared = { connections: { open: 0 }, ...options, signal };
  try {
    const bytes = new Uint8Array(file.length);
    let next = 0;
    const worker = async () => {
      while (next < file.parts.length) {
        const index = next++;
        const { sha256, length } = file.parts[index];
        const part = bytes.subarray(index * PART_BYTES, index * PART_BYTES + length);
        await fetchInto(part, store, shardKey(sha256), sha256, shared);
      }
    };
    const workers = Array.from({ length: Math.min(concurrency, file.parts.length) }, () =>
      worker().catch((error) => {
        leave.abort();
        throw error;
      }),
    );
    await settle(workers);
    await verifyObject(bytes, file.sha256, `file ${file.name} of ${store.name}`);
    return { bytes, release };
  } catch (error) {
    release();
    throw error;
  }
}

/** Waits for all, then raises the error that made the others stop. */
async function settle(workers: Promise<void>[]): Promise<void> {
  const errors = (await Promise.allSettled(workers)).flatMap((result) =>
    result.status === 'rejected' ? [result.reason as unknown] : [],
  );
  if (errors.length > 0) throw errors.find((error) => !isEdgeDitError(error, 'aborted')) ?? errors[0];
}

function checkConcurrency(concurrency = DEFAULT_CONCURRENCY): number {
  if (!Number.isInteger(concurrency) || concurrency < 1 || concurrency > MAX_CONNECTIONS) {
    throw new EdgeDitError('invalid-argument', `concurrency is ${concurrency}; give 1 to ${MAX_CONNECTIONS}.`);
  }
  return concurrency;
}
