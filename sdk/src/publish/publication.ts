/**
 * One new version of a model, from the pointer that it follows to the pointer that names it. In this order: the pointer is
 * read; shards and parts that the store lacks are sent; the manifest; a look whether a prune runs and whether all that was
 * found there is still there; the pointer, if it is the one that was read. A process that dies in between leaves the model
 * as it was and some objects, which the next run finds.
 */
import { EdgeDitError, isEdgeDitError } from '@edge-dit/runtime/errors';
import { manifestKey } from '@edge-dit/runtime/format/keys';
import { type Manifest, serializeManifest } from '@edge-dit/runtime/format/manifest';
import { loadVersion } from '@edge-dit/runtime/load-manifest';
import type { WritableStore } from '@edge-dit/runtime/stores/store';
import { sha256Hex } from '@edge-dit/runtime/verify';
import { type Signing, signManifest } from '../trust/sign-manifest.ts';
import { forEachOf, type Many } from './for-each-of.ts';
import { type Current, movePointer, readCurrent } from './pointer.ts';
import { whenNoPruneRuns } from './prune-lease.ts';

export interface PublicationOptions {
  readonly store: WritableStore;
  /** Signs the manifest. Without it, a manifest keeps the signature that it has. */
  readonly sign?: Signing;
  /** Objects on their way at once, each at most 16 MiB. Default 4. */
  readonly concurrency?: number;
  /** Only says what would be sent. */
  readonly dryRun?: boolean;
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
  /** As published, with its signature. */
  readonly manifest: Manifest;
  /** SHA-256 of the manifest. */
  readonly digest: string;
  readonly pointer: 'created' | 'updated' | 'unchanged';
}

/** What is to be in the store under the key that its content gives it. */
export interface OutgoingObject {
  readonly key: string;
  readonly sha256: string;
  readonly length: number;
  /** Called only where the store lacks the object. */
  bytes(): Promise<Uint8Array>;
}

/** Enough to hide the latency of a store, few enough for a home connection. */
const CONCURRENCY = 4;
/** Of a put that others keep getting in the way of. */
const MAX_ROUNDS = 3;
/** Of a put that the store fails at; the wait before each is random, up to 0.5, 1 and 2 s. */
const RETRIES = 3;
const FIRST_BACKOFF_MS = 500;
/** What was sent so lately cannot be old enough for a prune; the least grace period is far longer. */
const YOUNG_MS = 10 * 60_000;

export class Publication {
  readonly #options: PublicationOptions;
  readonly #model: string;
  /** What it follows. */
  readonly current: Current | undefined;
  readonly #counts: PublishCounts = { sentObjects: 0, sentBytes: 0, skippedObjects: 0, skippedBytes: 0 };
  /** When each object was sent; 0 for those that were found. */
  readonly #sends = new Map<string, Promise<{ length: number; sentAt: number }>>();

  private constructor(options: PublicationOptions, model: string, current: Current | undefined) {
    this.#options = options;
    this.#model = model;
    this.current = current;
  }

  static async begin(model: string, options: PublicationOptions): Promise<Publication> {
    return new Publication(options, model, await readCurrent(options.store, model, options.signal));
  }

  /** Sends what the store does not have, a few at a time; each object once. */
  async sendAll(objects: Many<OutgoingObject>): Promise<void> {
    await forEachOf(objects, this.#options.concurrency ?? CONCURRENCY, (object) => {
      let sending = this.#sends.get(object.key);
      if (sending === undefined) {
        sending = this.#send(object);
        this.#sends.set(object.key, sending);
      }
      return sending;
    });
  }

  /** Publishes the manifest, whose objects were all sent. */
  async complete(given: Manifest): Promise<Published> {
    const { store, sign, signal, dryRun } = this.#options;
    const current = this.current;
    const manifest = sign === undefined ? given : await signManifest(given, sign, await this.#previous());
    const bytes = serializeManifest(manifest);
    const digest = await sha256Hex(bytes);
    const key = manifestKey(digest);
    const result = (pointer: Published['pointer']) => ({ ...this.#counts, manifest, digest, pointer });
    const known = current === undefined ? [] : [current.pointer, ...(current.pointer.history ?? [])];
    if (known.some((version) => version.manifest === digest)) {
      await this.#send({ key, sha256: digest, length: bytes.length, bytes: async () => bytes });
      if (current?.pointer.manifest === digest) return result('unchanged');
    } else {
      // Also where it is already: a prune spares what a young manifest names.
      if (!dryRun) await this.#put(key, bytes, digest, {});
      this.#count(key, bytes.length, true);
    }
    if (!dryRun) {
      await whenNoPruneRuns(store, { signal });
      await this.#confirm();
      await movePointer(store, this.#model, { manifest: digest, length: bytes.length }, current, signal);
    }
    return result(current === undefined ? 'created' : 'updated');
  }

  /** The manifest of now, for what a signature continues; one that is damaged has nothing to continue. */
  async #previous(): Promise<Manifest | undefined> {
    if (this.current === undefined) return undefined;
    try {
      const { store, signal } = this.#options;
      return (await loadVersion(store, this.#model, this.current.pointer, { signal })).manifest;
    } catch (error) {
      const damaged = ['manifest-invalid', 'digest-mismatch', 'object-missing'] as const;
      if (damaged.some((code) => isEdgeDitError(error, code))) return undefined;
      throw error;
    }
  }

  async #send(object: OutgoingObject): Promise<{ length: number; sentAt: number }> {
    const wasSent = await this.#sendIfAbsent(object);
    this.#count(object.key, object.length, wasSent);
    return { length: object.length, sentAt: wasSent ? Date.now() : 0 };
  }

  async #sendIfAbsent({ key, sha256, length, bytes }: OutgoingObject): Promise<boolean> {
    const { store, signal, dryRun } = this.#options;
    for (let round = 0; round < MAX_ROUNDS; round++) {
      const there = await store.head(key, { signal });
      if (there?.size === length) return false;
      if (dryRun) return true;
      // Of another size it is damaged: replaced, unless somebody else does so just now.
      const condition = there === undefined ? { ifNoneMatch: '*' as const } : { ifMatch: there.etag };
      try {
        await this.#put(key, await bytes(), sha256, condition);
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

  async #put(key: string, bytes: Uint8Array, sha256: string, condition: { ifNoneMatch?: '*'; ifMatch?: string }) {
    const { store, signal } = this.#options;
    const contentType = key.endsWith('.json') ? 'application/json' : 'application/octet-stream';
    for (let retry = 0; ; retry++) {
      try {
        await store.put(key, bytes, { ...condition, signal, contentType, immutable: true, sha256 });
        return;
      } catch (error) {
        if (!isEdgeDitError(error, 'store-failed') || retry >= RETRIES) throw error;
        await new Promise((wake) => setTimeout(wake, Math.random() * FIRST_BACKOFF_MS * (1 << retry)));
      }
    }
  }

  #count(key: string, length: number, wasSent: boolean): void {
    this.#counts[wasSent ? 'sentObjects' : 'skippedObjects']++;
    this.#counts[wasSent ? 'sentBytes' : 'skippedBytes'] += length;
    this.#options.onProgress?.({ ...this.#counts, key });
  }

  /** What was found and not sent may have been deleted since, if nobody named it. */
  async #confirm(): Promise<void> {
    const { store, signal, concurrency = CONCURRENCY } = this.#options;
    await forEachOf(this.#sends, concurrency, async ([key, sending]) => {
      const { length, sentAt } = await sending;
      if (Date.now() - sentAt < YOUNG_MS || (await store.head(key, { signal }))?.size === length) return;
      throw new EdgeDitError(
        'object-missing',
        `${store.name}: ${key} was deleted while "${this.#model}" was being published; publish it again.`,
      );
    });
  }
}
