/**
 * Shards, files and a manifest in, a model in a store out. What is there already is not sent again. Objects go first, the
 * manifest after them, the pointer last: readers see the old model or the new one, and a broken-off run costs nothing.
 */
import { EdgeDitError } from '@edge-dit/runtime/errors';
import { describeFile, partsOfFile } from '@edge-dit/runtime/format/file-parts';
import { shardKey } from '@edge-dit/runtime/format/keys';
import type { Manifest } from '@edge-dit/runtime/format/manifest';
import { verifyObject } from '@edge-dit/runtime/verify';
import type { Many } from './for-each-of.ts';
import { type OutgoingObject, Publication, type PublicationOptions, type Published } from './publication.ts';

export type { Published, PublishProgress } from './publication.ts';

export interface PublishOptions extends PublicationOptions {
  /** Name under which the model is published; that of the manifest. */
  readonly model: string;
  /** Called after the last shard and file, so that a model can be packed while it is sent. */
  readonly manifest: Manifest | (() => Manifest | Promise<Manifest>);
  /** All shards of the manifest, in any order. */
  readonly shards: Many<{ readonly sha256: string; readonly bytes: Uint8Array }>;
  /** All files of the manifest, in any order. */
  readonly files?: Many<{ readonly name: string; readonly bytes: Uint8Array }>;
}

/**
 * Publishes a model. Doing so again sends nothing.
 * @throws EdgeDitError `invalid-argument` (bytes that the manifest does not describe), `digest-mismatch`,
 *   `precondition-failed` (somebody else published since this began), `object-missing` (what was found there was deleted
 *   since), `store-failed`, `store-denied`, `aborted`
 */
export async function publish(options: PublishOptions): Promise<Published> {
  const publication = await Publication.begin(options.model, options);
  const shards = new Map<string, number>();
  await publication.sendAll(shardsOf(options, shards));
  const files = new Map<string, string>();
  await publication.sendAll(partsOf(options, files));
  const manifest = typeof options.manifest === 'function' ? await options.manifest() : options.manifest;
  checkComplete(options.model, manifest, shards, files);
  return publication.complete(manifest);
}

async function* shardsOf(options: PublishOptions, seen: Map<string, number>): AsyncGenerator<OutgoingObject> {
  for await (const { sha256, bytes } of options.shards) {
    await verifyObject(bytes, sha256, `shard ${sha256} to publish`);
    seen.set(sha256, bytes.length);
    yield { key: shardKey(sha256), sha256, length: bytes.length, bytes: async () => bytes };
  }
}

async function* partsOf(options: PublishOptions, seen: Map<string, string>): AsyncGenerator<OutgoingObject> {
  for await (const { name, bytes } of options.files ?? []) {
    const { sha256, parts } = await describeFile(name, bytes);
    seen.set(name, sha256);
    for (const [i, part] of [...partsOfFile(bytes)].entries()) {
      yield { key: shardKey(parts[i].sha256), ...parts[i], bytes: async () => part };
    }
  }
}

/** A manifest may not name what was not sent, and nothing is sent for no manifest. */
function checkComplete(
  model: string,
  manifest: Manifest,
  shards: Map<string, number>,
  files: Map<string, string>,
): void {
  const refuse = (message: string) => {
    throw new EdgeDitError('invalid-argument', `model ${model}: ${message}`);
  };
  if (manifest.model !== model) refuse(`the manifest is of "${manifest.model}".`);
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
