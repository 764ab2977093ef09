/**
 * A published model in, what is damaged of it out: every object is fetched and its digest, header and shapes are
 * checked, and one bad object does not hide the next. What a store cannot answer at all is an error, not damage.
 */
import { createHash } from 'node:crypto';
import type { Engine } from '@edge-dit/runtime/engines/engine';
import { EdgeDitError, type ErrorCode } from '@edge-dit/runtime/errors';
import { type FetchOptions, fetchObject } from '@edge-dit/runtime/fetch';
import { shardKey } from '@edge-dit/runtime/format/keys';
import type { FileRecord, Manifest, TensorRecord } from '@edge-dit/runtime/format/manifest';
import { type LoadedManifest, loadManifest } from '@edge-dit/runtime/load-manifest';
import { architectureByName } from '@edge-dit/runtime/models/index';
import { tensorValue } from '@edge-dit/runtime/models/load-model';
import { WeightLoader } from '@edge-dit/runtime/models/weights';
import type { Store } from '@edge-dit/runtime/stores/store';
import type { TrustPolicy } from '@edge-dit/runtime/trust';
import { shardOf, type VerifiedShard } from '@edge-dit/runtime/verify';

export interface Damage {
  /** What is damaged: `manifest`, `shard 3`, `file tokenizer.json`, `tensor blocks.0.attn1.to_q.weight`, `architecture`. */
  readonly object: string;
  /** Key of the object in the store, where it is one. */
  readonly key?: string;
  readonly code: ErrorCode;
  readonly message: string;
}

export interface Verification {
  readonly model: string;
  /** SHA-256 of the manifest; missing when the manifest itself is damaged. */
  readonly digest?: string;
  /** Shards and parts of files. */
  readonly objects: number;
  /** Of those that are whole. */
  readonly bytes: number;
  readonly damage: readonly Damage[];
}

export interface VerifyModelOptions {
  readonly signal?: AbortSignal;
  /** Whose signatures are accepted. Without it none is looked at. */
  readonly trust?: TrustPolicy;
  /** Before the first shard, and after each shard and file. */
  readonly onObject?: (done: number, total: number) => void;
}

/** What says that an object is wrong, rather than that it could not be had. */
const DAMAGE: readonly ErrorCode[] = [
  'object-missing',
  'digest-mismatch',
  'shard-malformed',
  'manifest-invalid',
  'manifest-untrusted',
  'checkpoint-mismatch',
  'config-unsupported',
  'unknown-name',
];

/** Objects at once: enough to hide the latency of a store. */
const CONCURRENCY = 4;

/** @throws EdgeDitError `model-not-found`, `store-failed`, `store-denied`, `aborted` */
export async function verifyModel(
  store: Store,
  model: string,
  { signal, trust, onObject }: VerifyModelOptions = {},
): Promise<Verification> {
  const before = new Findings();
  let loaded: LoadedManifest | undefined;
  await before.guard('manifest', undefined, async () => {
    loaded = await loadManifest(store, model, { signal, trust });
  });
  if (loaded === undefined) return { model, objects: 0, bytes: 0, damage: before.damage };
  const { manifest, digest } = loaded;
  const structure = new Structure(manifest);
  await before.guard('architecture', undefined, () => structure.begin());
  const jobs = [
    ...manifest.shards.map(
      (_, index) => (found: Findings) => verifyShard(store, manifest, index, structure, found, { signal }),
    ),
    ...manifest.files.map((file) => (found: Findings) => verifyFile(store, file, found, { signal })),
  ];
  const results = await inTurn(jobs, onObject);
  const damage = [before, ...results].flatMap((findings) => findings.damage);
  // What lies in a damaged shard is missing for that reason alone.
  if (damage.length === 0) {
    const after = new Findings();
    await after.guard('architecture', undefined, () => structure.finish());
    damage.push(...after.damage);
  }
  const parts = manifest.files.reduce((sum, file) => sum + file.parts.length, 0);
  const bytes = results.reduce((sum, findings) => sum + findings.bytes, 0);
  return { model, digest, objects: manifest.shards.length + parts, bytes, damage };
}

/** What one job found. */
class Findings {
  readonly damage: Damage[] = [];
  /** Of objects that are whole. */
  bytes = 0;

  /** Notes what `work` raises where it says that the object is damaged; raises everything else. */
  async guard(object: string, key: string | undefined, work: () => unknown): Promise<void> {
    try {
      await work();
    } catch (error) {
      if (!(error instanceof EdgeDitError) || !DAMAGE.includes(error.code)) throw error;
      this.damage.push({ object, ...(key === undefined ? {} : { key }), code: error.code, message: error.message });
    }
  }
}

async function verifyShard(
  store: Store,
  manifest: Manifest,
  index: number,
  structure: Structure,
  found: Findings,
  options: FetchOptions,
): Promise<void> {
  const expected = manifest.shards[index];
  const key = shardKey(expected.sha256);
  const records = manifest.tensors.filter((tensor) => tensor.shard === index);
  await found.guard(`shard ${index}`, key, async () => {
    const { object } = await fetchObject(store, key, expected, options);
    const shard = shardOf(object, `shard ${index} (${store.name}: ${key})`, records.length);
    found.bytes += expected.length;
    for (const record of records) {
      await found.guard(`tensor ${record.name}`, key, () => structure.add(record, shard));
    }
  });
}

/** Parts one by one, and then the digest of the whole. */
async function verifyFile(store: Store, file: FileRecord, found: Findings, options: FetchOptions): Promise<void> {
  const hash = createHash('sha256');
  for (const [index, part] of file.parts.entries()) {
    const key = shardKey(part.sha256);
    await found.guard(`file ${file.name}, part ${index + 1} of ${file.parts.length}`, key, async () => {
      const { object } = await fetchObject(store, key, part, options);
      hash.update(object.bytes);
      found.bytes += part.length;
    });
  }
  if (found.damage.length > 0) return;
  await found.guard(`file ${file.name}`, undefined, () => {
    const got = hash.digest('hex');
    if (got === file.sha256) return;
    throw new EdgeDitError(
      'digest-mismatch',
      `file ${file.name}: its parts are whole, but together have SHA-256 ${got}, expected ${file.sha256}; publish the model again.`,
    );
  });
}

/** The check that loading makes of names, shapes and kinds, over an engine that keeps nothing. */
class Structure {
  readonly #manifest: Manifest;
  #loader: WeightLoader | undefined;

  constructor(manifest: Manifest) {
    this.#manifest = manifest;
  }

  begin(): void {
    const architecture = architectureByName(this.#manifest.architecture).configure(this.#manifest.config);
    const names = new Set(this.#manifest.tensors.map(({ name }) => name));
    this.#loader = new WeightLoader(architecture, nothingKept, { names });
  }

  add(record: TensorRecord, shard: VerifiedShard): void {
    this.#loader?.add(record.name, record.shape, tensorValue(shard, record));
  }

  finish(): void {
    this.#loader?.finish();
  }
}

const nothingKept = {
  linear: ({ outFeatures, inFeatures }: { outFeatures: number; inFeatures: number }) => ({ outFeatures, inFeatures }),
  constant: (_data: Float32Array, shape: readonly number[]) => ({ shape }),
} as unknown as Engine;

/** Runs the jobs, a few at a time; their findings in the order of the jobs. */
async function inTurn(
  jobs: readonly ((found: Findings) => Promise<void>)[],
  onObject?: VerifyModelOptions['onObject'],
): Promise<Findings[]> {
  const results = jobs.map(() => new Findings());
  let next = 0;
  let done = 0;
  onObject?.(done, jobs.length);
  const worker = async () => {
    while (next < jobs.length) {
      const index = next++;
      await jobs[index](results[index]);
      onObject?.(++done, jobs.length);
    }
  };
  await Promise.all(Array.from({ length: Math.min(CONCURRENCY, jobs.length) }, worker));
  return results;
}
