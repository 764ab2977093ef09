/**
 * Shards, files and a manifest in, a model in a store out. What is there already is not sent again. Objects go first, the
 * manifest after them, the pointer last: readers see the old model or the new one, and a broken-off run costs nothing.
 */
import { EdgeDitError, isEdgeDitError } from '@edge-dit/runtime/errors';
import { describeFile, partsOfFile } from '@edge-dit/runtime/format/file-parts';
import { manifestKey, pointerKey, shardKey } from '@edge-dit/runtime/format/keys';
import { type Manifest, serializeManifest } from '@edge-dit/runtime/format/manifest';
import { readPointer } from '@edge-dit/runtime/load-manifest';
import type { WritableStore } from '@edge-dit/runtime/stores/store';
import { sha256Hex, verifyObject } from '@edge-dit/runtime/verify';

type Many<T> = Iterable<T> | AsyncIterable<T>;

export interface PublishOptions {
  readonly store: WritableStore;
  /** Called after the last shard and file, so that a model can be packed while it is sent. */
  readonly manifest: Manifest | (() => Manifest | Promise<Manifest>);
  /** All shards of the manifest, in any order. */
  readonly shards: Many<{ readonly sha256: string; readonly bytes: Uint8Array }>;
  /** All files of the manifest, in any order. */
  readonly files?: Many<{ readonly name: string; readonly bytes: Uint8Array }>;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: PublishProgress) => void;
}

export interface PublishCounts {
  sentObjects: number;
  sentBytes: number;
  skippedObjects: number;
  skippedBytes: number;
}

export interface PublishProgress extends Readonly<PublishCounts> {
  /** The object that was sent or skipped just now. */
  readonly key: string;
}

export interface Published extends Readonly<PublishCounts> {
  /** SHA-256 of the manifest. */
  readonly digest: string;
  readonly pointer: 'created' | 'updated' | 'unchanged';
}

/** Uploads at once: enough to hide the latency of a store, few enough for a home connection. */
const CONCURRENCY = 4;
const MAX_ROUNDS = 3;

/**
 * Publishes a model under `manifest.model`. Doing so again sends nothing.
 * @throws EdgeDitError `invalid-argument` (bytes that the manifest does not describe), `digest-mismatch`,
 *   `precondition-failed` (somebody else published at the same time), `store-failed`, `store-denied`, `aborted`
 */
export async function publish(options: PublishOptions): Promise<Published> {
  const { store, signal } = options;
  const sender = new Sender(options);
  const sent = new Map<string, number>();
  await forEachOf(options.shards, async ({ sha256, bytes }) => {
    await verifyObject(bytes, sha256, `shard ${sha256} to publish`);
    await sender.send(shardKey(sha256), bytes);
    sent.set(sha256, bytes.length);
  });
  const files = new Map<string, string>();
  for await (const { name, bytes } of options.files ?? []) {
    const { sha256, parts } = await describeFile(name, bytes);
    const pairs = [...partsOfFile(bytes)].map((part, i) => ({ part, digest: parts[i].sha256 }));
    await forEachOf(pairs, ({ part, digest }) => sender.send(shardKey(digest), part));
    files.set(name, sha256);
  }
  const manifest = typeof options.manifest === 'function' ? await options.manifest() : options.manifest;
  const bytes = serializeManifest(manifest);
  checkComplete(manifest, sent, files);
  const digest = await sha256Hex(bytes);
  await sender.send(manifestKey(digest), bytes, 'application/json');
  const pointer = await point(store, manifest.model, digest, bytes.length, signal);
  return { ...sender.counts, digest, pointer };
}

/** Sends content-addressed objects that the store does not have, and counts. */
class Sender {
  readonly counts: PublishCounts = { sentObjects: 0, sentBytes: 0, skippedObjects: 0, skippedBytes: 0 };
  readonly #options: PublishOptions;

  constructor(options: PublishOptions) {
    this.#options = options;
  }

  async send(key: string, bytes: Uint8Array, contentType = 'application/octet-stream'): Promise<void> {
    const wasSent = await this.#put(key, bytes, contentType);
    this.counts[wasSent ? 'sentObjects' : 'skippedObjects']++;
    this.counts[wasSent ? 'sentBytes' : 'skippedBytes'] += bytes.length;
    this.#options.onProgress?.({ ...this.counts, key });
  }

  async #put(key: string, bytes: Uint8Array, contentType: string): Promise<boolean> {
    const { store, signal } = this.#options;
    for (let round = 0; round < MAX_ROUNDS; round++) {
      const there = await store.head(key, { signal });
      if (there?.size === bytes.length) return false;
      // Of another size it is damaged: replaced, unless somebody else does so just now.
      const condition = there === undefined ? { ifNoneMatch: '*' as const } : { ifMatch: there.etag };
      try {
        await store.put(key, bytes, { ...condition, signal, contentType, immutable: true });
        return true;
      } catch (error) {
        if (!isEdgeDitError(error, 'precondition-failed')) throw error;
      }
    }
    throw new EdgeDitError(
      'precondition-failed',
      `${store.name}: ${key} is being written by others, ${MAX_ROUNDS} times in a row; publish again when they are done.`,
    );
  }
}

async function point(
  store: WritableStore,
  model: string,
  digest: string,
  length: number,
  signal: AbortSignal | undefined,
): Promise<Published['pointer']> {
  const old = await readPointer(store, model, { signal });
  if (old?.pointer.manifest === digest && old.pointer.length === length) return 'unchanged';
  const bytes = new TextEncoder().encode(`${JSON.stringify({ manifest: digest, length })}\n`);
  if (old !== undefined && old.etag === undefined) {
    throw new EdgeDitError('internal', `${store.name}: get ${pointerKey(model)} gave no etag; a writable store must.`);
  }
  const condition = old === undefined ? { ifNoneMatch: '*' as const } : { ifMatch: old.etag };
  try {
    await store.put(pointerKey(model), bytes, { ...condition, signal, contentType: 'application/json' });
  } catch (error) {
    if (!isEdgeDitError(error, 'precondition-failed')) throw error;
    throw new EdgeDitError(
      'precondition-failed',
      `${store.name}: somebody else published "${model}" at the same time; look at theirs, then publish again.`,
      { cause: error },
    );
  }
  return old === undefined ? 'created' : 'updated';
}

/** A manifest may not name what was not sent, and nothing is sent for no manifest. */
function checkComplete(manifest: Manifest, shards: Map<string, number>, files: Map<string, string>): void {
  const refuse = (message: string) => {
    throw new EdgeDitError('invalid-argument', `model ${manifest.model}: ${message}`);
  };
  for (const { sha256, length } of manifest.shards) {
    if (shards.get(sha256) !== length)
      refuse(`shard ${sha256} of ${length} bytes is in the manifest but was not given.`);
  }
  const named = new Set(manifest.shards.map(({ sha256 }) => sha256));
  for (const sha256 of shards.keys()) if (!named.has(sha256)) refuse(`shard ${sha256} is not in the manifest.`);
  for (const { name, sha256 } of manifest.files) {
    if (files.get(name) !== sha256) refuse(`file ${name} with SHA-256 ${sha256} is in the manifest but was not given.`);
  }
  if (files.size !== manifest.files.length) {
    refuse(`${files.size} files were given, the manifest has ${manifest.files.length}.`);
  }
}

/** Runs `work` on each item, a few at a time; takes the next item only when there is room for it. */
async function forEachOf<T>(items: Many<T>, work: (item: T) => Promise<void>): Promise<void> {
  const running = new Set<Promise<void>>();
  const failures: unknown[] = [];
  for await (const item of items) {
    const task: Promise<void> = work(item)
      .catch((error: unknown) => void failures.push(error))
      .finally(() => running.delete(task));
    running.add(task);
    if (running.size >= CONCURRENCY) await Promise.race(running);
    if (failures.length > 0) break;
  }
  await Promise.all(running);
  if (failures.length > 0) throw failures[0];
}
