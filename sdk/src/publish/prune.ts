/**
 * A store in, the store without what nobody names out. Kept is what can be reached from a pointer and its history, and from
 * every manifest younger than the grace period; and whatever is younger itself. Why nothing goes that is being published:
 * what a publication sends is young. What it finds and does not send may be old; so it writes its manifest first, then
 * waits until no prune runs, then looks whether all is still there, and only then moves the pointer. A prune that starts
 * after that wait sees the manifest, which is young; one that ended before it is seen by the look.
 */
import { EdgeDitError, isEdgeDitError } from '@edge-dit/runtime/errors';
import { fetchObject } from '@edge-dit/runtime/fetch';
import { digestOfKey, manifestKey, SHA256_HEX, shardKey } from '@edge-dit/runtime/format/keys';
import { type Manifest, parseManifest } from '@edge-dit/runtime/format/manifest';
import { listModels, readPointer } from '@edge-dit/runtime/load-manifest';
import type { ListedObject, WritableStore } from '@edge-dit/runtime/stores/store';
import { forEachOf } from './for-each-of.ts';
import { type LeaseOptions, PruneLease } from './prune-lease.ts';

export interface PruneOptions extends LeaseOptions {
  readonly store: WritableStore;
  /** Longer than any publication takes; 0 only where nobody publishes. Default a day. */
  readonly graceMs?: number;
  /** Only says what would be deleted. */
  readonly dryRun?: boolean;
  readonly onProgress?: (done: number, total: number) => void;
}

export interface Pruned {
  readonly models: number;
  readonly keptObjects: number;
  readonly keptBytes: number;
  /** Named by nobody, but young; in `kept` too. */
  readonly youngObjects: number;
  readonly deletedObjects: number;
  readonly deletedBytes: number;
}

export const DAY_MS = 86_400_000;
const CONCURRENCY = 8;

/**
 * @throws EdgeDitError `precondition-failed` while another prune runs; where a manifest cannot be read, what it is: nothing
 *   is deleted then, because nobody knows what it names
 */
export async function prune(options: PruneOptions): Promise<Pruned> {
  const { store, graceMs = DAY_MS, dryRun = false, signal, onProgress } = options;
  const lease = dryRun ? undefined : await PruneLease.take(store, options);
  try {
    const cutoff = ((await lease?.storeTime()) ?? Date.now()) - graceMs;
    const isYoung = ({ modified }: ListedObject) => modified.getTime() > cutoff;
    const objects = [...(await listed(store, 'manifests/')), ...(await listed(store, 'shards/'))];
    const young = objects.filter((object) => isManifest(object) && isYoung(object));
    const { named, models } = await namedBy(store, young, signal);
    const unnamed = objects.filter(({ key }) => !named.has(key));
    const doomed = unnamed.filter((object) => !isYoung(object));
    let done = 0;
    // Manifests come first: none that is left names what is gone.
    for (const group of lease === undefined ? [] : [doomed.filter(isManifest), doomed.filter((o) => !isManifest(o))]) {
      await forEachOf(batches(group), 1, async (batch) => {
        if (signal?.aborted) throw new EdgeDitError('aborted', `${store.name}: prune was cancelled.`);
        await lease!.hold((timeout) =>
          forEachOf(batch, CONCURRENCY, ({ key }) => store.delete(key, { signal: timeout })),
        );
        done += batch.length;
        onProgress?.(done, doomed.length);
      });
    }
    const swept = dryRun ? 0 : ((await store.sweep?.(new Date(cutoff))) ?? 0);
    const bytes = (of: readonly ListedObject[]) => of.reduce((sum, { size }) => sum + size, 0);
    return {
      models,
      keptObjects: objects.length - doomed.length,
      keptBytes: bytes(objects) - bytes(doomed),
      youngObjects: unnamed.length - doomed.length,
      deletedObjects: doomed.length,
      deletedBytes: bytes(doomed) + swept,
    };
  } finally {
    await lease?.release();
  }
}

const isManifest = ({ key }: ListedObject) => key.startsWith('manifests/');
/** Of our own only: what else lies there is somebody's. */
const isOurs = (key: string) => digestOfKey(key) !== undefined || digestOfManifestKey(key) !== undefined;

function digestOfManifestKey(key: string): string | undefined {
  const digest = /^manifests\/(.*)\.json$/.exec(key)?.[1] ?? '';
  return SHA256_HEX.test(digest) ? digest : undefined;
}

async function listed(store: WritableStore, prefix: string): Promise<ListedObject[]> {
  const found: ListedObject[] = [];
  for await (const object of store.list(prefix)) if (isOurs(object.key)) found.push(object);
  return found;
}

/** So few that they are deleted within a third of the lease. */
function* batches<T>(items: readonly T[]): Generator<T[]> {
  for (let at = 0; at < items.length; at += 4 * CONCURRENCY) yield items.slice(at, at + 4 * CONCURRENCY);
}

/** The keys of all that models, the versions before them and young manifests are made of. */
async function namedBy(
  store: WritableStore,
  young: readonly ListedObject[],
  signal: AbortSignal | undefined,
): Promise<{ named: Set<string>; models: number }> {
  const current = new Map<string, number>();
  const others = new Map(young.map(({ key, size }) => [digestOfManifestKey(key)!, size]));
  let models = 0;
  for await (const model of listModels(store)) {
    const found = await readPointer(store, model, { signal });
    if (found === undefined) continue;
    models++;
    current.set(found.pointer.manifest, found.pointer.length);
    for (const { manifest, length } of found.pointer.history ?? []) others.set(manifest, length);
  }
  const named = new Set<string>();
  const add = async ([sha256, length]: [string, number], mustBeThere: boolean) => {
    const manifest = await readManifest(store, { sha256, length }, signal).catch((error) => {
      if (mustBeThere || !isEdgeDitError(error, 'object-missing')) throw error;
    });
    if (manifest === undefined) return;
    named.add(manifestKey(sha256));
    for (const { sha256: shard } of manifest.shards) named.add(shardKey(shard));
    for (const part of manifest.files.flatMap(({ parts }) => parts)) named.add(shardKey(part.sha256));
  };
  await forEachOf(current, CONCURRENCY, (entry) => add(entry, true));
  await forEachOf(others, CONCURRENCY, (entry) => add(entry, false));
  return { named, models };
}

async function readManifest(
  store: WritableStore,
  expected: { sha256: string; length: number },
  signal: AbortSignal | undefined,
): Promise<Manifest> {
  const key = manifestKey(expected.sha256);
  const { object } = await fetchObject(store, key, expected, { signal });
  return parseManifest(object.bytes, `${store.name}: ${key}`);
}
