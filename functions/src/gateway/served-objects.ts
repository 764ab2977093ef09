/**
 * What a gateway may give away. In: a store and the names of the models that are served. Out: their pointers, and the length
 * of every object that their manifests name. Nothing else in the store can be asked for, and a digest that no manifest
 * names costs no request to the store, however many of them a client makes up.
 */
import { EdgeDitError, isEdgeDitError } from '@edge-dit/runtime/errors';
import { type Expected, fetchObject, readSmall } from '@edge-dit/runtime/fetch';
import { manifestKey, pointerKey, shardKey } from '@edge-dit/runtime/format/keys';
import { MAX_POINTER_BYTES } from '@edge-dit/runtime/format/limits';
import { type Manifest, parseManifest } from '@edge-dit/runtime/format/manifest';
import { parsePointer } from '@edge-dit/runtime/load-manifest';
import type { Store } from '@edge-dit/runtime/stores/store';

/** Manifests of a model that stay known: whoever loads one while another is published can finish. */
const KEPT_VERSIONS = 4;

export interface ServedModel {
  /** As it is in the store. */
  readonly pointer: Uint8Array;
  /** SHA-256 of the current manifest. */
  readonly digest: string;
}

interface Entry {
  /** When it was last looked at, in milliseconds. */
  read: number;
  reading?: Promise<ServedModel>;
  /** Objects by key, for each version, the newest last. */
  readonly versions: Map<string, ReadonlyMap<string, Expected>>;
}

export interface ServedObjectsOptions {
  readonly store: Store;
  readonly models: readonly string[];
  /** Milliseconds for which a pointer is believed. */
  readonly refreshMs: number;
  readonly now: () => number;
}

export class ServedObjects {
  readonly #options: ServedObjectsOptions;
  readonly #models = new Map<string, Entry>();

  constructor(options: ServedObjectsOptions) {
    this.#options = options;
    for (const name of options.models) {
      this.#models.set(name, { read: Number.NEGATIVE_INFINITY, versions: new Map() });
    }
  }

  /** The current version, as of `refreshMs` ago at most. @throws EdgeDitError `model-not-found`, and those of the store */
  async model(name: string): Promise<ServedModel> {
    const entry = this.#models.get(name);
    if (entry === undefined) throw new EdgeDitError('model-not-found', 'no model of that name is served here.');
    const { now, refreshMs } = this.#options;
    if (entry.reading === undefined || now() - entry.read >= refreshMs) {
      entry.read = now();
      const reading = this.#read(name, entry);
      entry.reading = reading;
      // A failure is told to those who wait for it, and tried again by the next.
      reading.catch(() => {
        if (entry.reading === reading) entry.reading = undefined;
      });
    }
    return entry.reading;
  }

  /** What an object must be, or undefined where no model that is served has it. */
  async find(key: string): Promise<Expected | undefined> {
    const known = this.#known(key);
    if (known !== undefined) return known;
    await this.#refresh();
    return this.#known(key);
  }

  #known(key: string): Expected | undefined {
    for (const { versions } of this.#models.values()) {
      for (const objects of versions.values()) {
        const found = objects.get(key);
        if (found !== undefined) return found;
      }
    }
    return undefined;
  }

  async #refresh(): Promise<void> {
    const readings = [...this.#models.keys()].map((name) => this.model(name));
    const results = await Promise.allSettled(readings);
    const failed = results.find(
      (result) => result.status === 'rejected' && !isEdgeDitError(result.reason, 'model-not-found'),
    );
    // It may be of a model that could not be read: not known is not absent.
    if (failed?.status === 'rejected') throw failed.reason;
  }

  async #read(name: string, { versions }: Entry): Promise<ServedModel> {
    const { store } = this.#options;
    const key = pointerKey(name);
    const found = await readSmall(store, key, MAX_POINTER_BYTES);
    if (found === undefined)
      throw new EdgeDitError('model-not-found', `model "${name}" is served here, but is not published yet.`);
    const pointer = found.bytes.slice();
    const { manifest: digest, length } = parsePointer(pointer, `${store.name}: ${key}`);
    const known = versions.get(digest) ?? (await this.#objectsOf({ sha256: digest, length }));
    versions.delete(digest);
    versions.set(digest, known);
    for (const oldest of versions.keys()) if (versions.size > KEPT_VERSIONS) versions.delete(oldest);
    return { pointer, digest };
  }

  async #objectsOf(expected: Expected): Promise<ReadonlyMap<string, Expected>> {
    const { store } = this.#options;
    const key = manifestKey(expected.sha256);
    const { object, release } = await fetchObject(store, key, expected);
    try {
      return objectsOf(parseManifest(object.bytes, `${store.name}: ${key}`), expected);
    } finally {
      release();
    }
  }
}

/** The manifest itself, its shards, and the parts of its files, by their keys. */
function objectsOf({ shards, files }: Manifest, manifest: Expected): ReadonlyMap<string, Expected> {
  const parts = files.flatMap((file) => file.parts);
  const content = [...shards, ...parts].map((expected) => [shardKey(expected.sha256), expected] as const);
  return new Map<string, Expected>([[manifestKey(manifest.sha256), manifest], ...content]);
}
