/**
 * A model of one store in, the same model in another out: every object is verified on its way, and what the other store
 * has is not read at all. With a key, the copy is signed.
 */
import { fetchObject } from '@edge-dit/runtime/fetch';
import { shardKey } from '@edge-dit/runtime/format/keys';
import type { Manifest } from '@edge-dit/runtime/format/manifest';
import { loadManifest } from '@edge-dit/runtime/load-manifest';
import type { Store } from '@edge-dit/runtime/stores/store';
import type { TrustPolicy } from '@edge-dit/runtime/trust';
import { type OutgoingObject, Publication, type PublicationOptions, type Published } from './publication.ts';

export interface CopyModelOptions extends PublicationOptions {
  readonly from: Store;
  readonly model: string;
  /** Whose signatures are accepted of the source. */
  readonly trust?: TrustPolicy;
  /** Once the manifest is known: objects and bytes that the model is made of. */
  readonly onTotal?: (objects: number, bytes: number) => void;
}

/** @throws EdgeDitError what `loadManifest`, `fetchObject` and `publish` raise */
export async function copyModel(options: CopyModelOptions): Promise<Published> {
  const { from, model, trust, signal, onTotal } = options;
  const { manifest } = await loadManifest(from, model, { signal, trust });
  const objects = objectsOf(from, manifest, signal);
  onTotal?.(
    objects.length,
    objects.reduce((sum, { length }) => sum + length, 0),
  );
  const publication = await Publication.begin(model, options);
  await publication.sendAll(objects);
  return publication.complete(manifest);
}

/** Shards and parts of a model, each once; their bytes come, verified, from the store. */
export function objectsOf(store: Store, manifest: Manifest, signal?: AbortSignal): OutgoingObject[] {
  const records = [...manifest.shards, ...manifest.files.flatMap(({ parts }) => parts)];
  const unique = new Map(records.map((record) => [record.sha256, record]));
  return [...unique.values()].map(({ sha256, length }) => ({
    key: shardKey(sha256),
    sha256,
    length,
    bytes: async () => (await fetchObject(store, shardKey(sha256), { sha256, length }, { signal })).object.bytes,
  }));
}
