/**
 * The models that a browser keeps: which, how large, when last used; room for another one under the browser's quota. Objects
 * lie in one cache, named by their content, so models that share them store them once; a record a model says which are its.
 */
import { EdgeDitError } from '../errors.ts';
import { shardKey } from '../format/keys.ts';
import type { Manifest } from '../format/manifest.ts';
import type { OpfsCache } from '../stores/opfs.ts';

export interface StoredModel {
  readonly model: string;
  /** SHA-256 of its manifest. */
  readonly digest: string;
  /** Of its objects, those that it shares included. */
  readonly bytes: number;
  readonly lastUsed: Date;
}

/** What a browser says of the space of an origin. */
export interface StorageRoom {
  readonly usage: number;
  readonly quota: number;
}

export interface AdmitOptions {
  /** Whether models that were not used for longest may be deleted to make room. */
  readonly evict: boolean;
}

interface Record {
  readonly model: string;
  readonly digest: string;
  /** Key and bytes. */
  readonly objects: readonly (readonly [string, number])[];
  readonly lastUsed: number;
}

/** Writing takes somewhat more than the bytes that are written. */
const SPARE = 0.02;

export class StoredModels {
  readonly #objects: OpfsCache;
  readonly #records: OpfsCache;
  readonly #room: () => Promise<StorageRoom>;

  /**
   * @param objects shards and files
   * @param records of models, by name
   * @param room default: what the browser says
   */
  constructor(objects: OpfsCache, records: OpfsCache, room: () => Promise<StorageRoom> = browserRoom) {
    this.#objects = objects;
    this.#records = records;
    this.#room = room;
  }

  /** Last used first. */
  async list(): Promise<StoredModel[]> {
    const records = await this.#read();
    return records.map(({ model, digest, objects, lastUsed }) => {
      return { model, digest, bytes: total(objects), lastUsed: new Date(lastUsed) };
    });
  }

  /** Deletes a model and what only it needs. */
  async remove(model: string): Promise<void> {
    const records = await this.#read();
    const gone = records.find((record) => record.model === model);
    if (gone === undefined) return;
    await this.#records.delete(model);
    const needed = new Set(records.flatMap((record) => (record === gone ? [] : record.objects.map(([key]) => key))));
    for (const [key] of gone.objects) if (!needed.has(key)) await this.#objects.delete(key);
  }

  /**
   * Notes that a model is used, and makes sure before anything is fetched that what is missing of it has room.
   * @param files names of those of its files (tokenizer, text encoder, VAE) that are stored too
   * @returns the models that were deleted for it
   * @throws EdgeDitError `storage-full` that says how much is needed and what could be deleted
   */
  async admit(
    { manifest, digest, files }: { manifest: Manifest; digest: string; files: readonly string[] },
    { evict }: AdmitOptions,
  ): Promise<StoredModel[]> {
    const parts = [
      ...manifest.shards,
      ...manifest.files.flatMap((file) => (files.includes(file.name) ? file.parts : [])),
    ];
    const objects = [...new Map(parts.map(({ sha256, length }) => [shardKey(sha256), length]))];
    const missing: [string, number][] = [];
    for (const [key, length] of objects) {
      if ((await this.#objects.sizeOf(key)) !== length) missing.push([key, length]);
    }
    const needed = Math.ceil(total(missing) * (1 + SPARE));
    const { usage, quota } = await this.#room();
    const records = await this.#read();
    const others = records.filter(({ model }) => model !== manifest.model);
    const kept = new Map(objects);
    const evicted: Record[] = [];
    const freed = () => {
      const left = others.filter((record) => !evicted.includes(record)).flatMap((record) => record.objects);
      return freedBy(evicted, [...left, ...kept]);
    };
    // Browsers tell a quota that is rounded, or not theirs at all; what they hold is found out by trying.
    const fits = async (bytes: number) =>
      bytes <= 0 || (bytes <= quota - usage && (await this.#objects.canHold(bytes)));
    const oldestFirst = others.toReversed();
    while (!(await fits(needed - freed()))) {
      const oldest = evict ? oldestFirst[evicted.length] : undefined;
      if (oldest === undefined) throw storageFull(manifest.model, { needed, usage, quota, evict, others });
      evicted.push(oldest);
    }
    for (const { model } of evicted) await this.remove(model);
    const record: Record = { model: manifest.model, digest, objects, lastUsed: Date.now() };
    await this.#records.put(manifest.model, new TextEncoder().encode(JSON.stringify(record)));
    return evicted.map(({ model, digest: version, objects: list, lastUsed }) => {
      return { model, digest: version, bytes: total(list), lastUsed: new Date(lastUsed) };
    });
  }

  /** Deletes objects that no record names: those of versions that were replaced. */
  async tidy(): Promise<void> {
    const records = await this.#read();
    await this.#objects.retain(records.flatMap(({ objects }) => objects.map(([key]) => key)));
  }

  async #read(): Promise<Record[]> {
    const records: Record[] = [];
    for (const model of await this.#records.keys()) {
      const record = await this.#readOne(model);
      if (record === undefined) await this.#records.delete(model);
      else records.push(record);
    }
    return records.sort((a, b) => b.lastUsed - a.lastUsed);
  }

  /** One that was half written names nothing: its objects are fetched, or deleted, as if they were new. */
  async #readOne(model: string): Promise<Record | undefined> {
    const body = await this.#records.match(model);
    try {
      const record = (await new Response(body as ReadableStream<Uint8Array<ArrayBuffer>>).json()) as Record;
      return record.model === model && Array.isArray(record.objects) ? record : undefined;
    } catch {
      return undefined;
    }
  }
}

async function browserRoom(): Promise<StorageRoom> {
  const { usage = 0, quota = Number.POSITIVE_INFINITY } = (await navigator.storage.estimate?.()) ?? {};
  return { usage, quota };
}

const total = (objects: Iterable<readonly [string, number]>) => {
  let sum = 0;
  for (const [, length] of objects) sum += length;
  return sum;
};

/** Bytes that only the records in `gone` need. */
function freedBy(gone: readonly Record[], kept: readonly (readonly [string, number])[]): number {
  const needed = new Set(kept.map(([key]) => key));
  const freed = new Map(gone.flatMap(({ objects }) => objects).filter(([key]) => !needed.has(key)));
  return total(freed);
}

interface Shortage extends StorageRoom, AdmitOptions {
  readonly needed: number;
  readonly others: readonly Record[];
}

function storageFull(model: string, { needed, usage, quota, evict, others }: Shortage): EdgeDitError {
  const list = others.map((other) => {
    return `${other.model} (${megabytes(total(other.objects))}, last used ${new Date(other.lastUsed).toISOString().slice(0, 10)})`;
  });
  const remedy =
    list.length === 0
      ? "clear other data of this site, or open the model with storage: 'none'"
      : evict
        ? `deleting ${list.join(', ')} would not be enough; clear other data of this site, or open it with storage: 'none'`
        : `delete ${list.join(' or ')}, or open it with evict: true`;
  const room =
    needed > quota - usage
      ? `${megabytes(Math.max(0, quota - usage))} of the ${megabytes(quota)} that this browser allows are free`
      : 'this browser has no room for so much';
  return new EdgeDitError('storage-full', `storing ${model} needs ${megabytes(needed)}, and ${room}: ${remedy}.`);
}

const megabytes = (bytes: number) => `${(bytes / 1e6).toFixed(1)} MB`;
