/** A model's name in, its manifest out: the pointer says which manifest is current, its digest says that it is that one. */
import * as z from 'zod/mini';
import { EdgeDitError } from './errors.ts';
import { type FetchOptions, fetchObject, readSmall } from './fetch.ts';
import { parseBoundedJson } from './format/json.ts';
import { MODEL_NAME, manifestKey, pointerKey, SHA256_HEX } from './format/keys.ts';
import { MAX_MANIFEST_BYTES, MAX_POINTER_BYTES } from './format/limits.ts';
import { type Manifest, parseManifest } from './format/manifest.ts';
import type { Store, WritableStore } from './stores/store.ts';
import { zodMessages } from './zod-messages.ts';

const pointerSchema = z.object({
  manifest: z.string().check(z.regex(SHA256_HEX)),
  length: z.int().check(z.minimum(1), z.maximum(MAX_MANIFEST_BYTES)),
});

/** What `models/<name>.json` holds: digest and length of the current manifest. */
export type Pointer = z.infer<typeof pointerSchema>;

export interface LoadedManifest {
  readonly manifest: Manifest;
  /** SHA-256 of the manifest's bytes: names this very version of the model. */
  readonly digest: string;
}

/** Parses a pointer; `what` names it in messages. @throws EdgeDitError `manifest-invalid` */
export function parsePointer(bytes: Uint8Array, what: string): Pointer {
  const result = pointerSchema.safeParse(parseBoundedJson(bytes, MAX_POINTER_BYTES, what), zodMessages);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  throw new EdgeDitError('manifest-invalid', `${what}: ${issue.path.join('.')}: ${issue.message.slice(0, 200)}`);
}

/** The pointer of a model and its etag, or undefined where there is none. */
export async function readPointer(
  store: Store,
  model: string,
  options: FetchOptions = {},
): Promise<{ pointer: Pointer; etag?: string } | undefined> {
  const key = pointerKey(model);
  const found = await readSmall(store, key, MAX_POINTER_BYTES, options);
  return found && { pointer: parsePointer(found.bytes, `${store.name}: ${key}`), etag: found.etag };
}

/**
 * Loads and checks the current manifest of a model.
 * @throws EdgeDitError `model-not-found`, `manifest-invalid`, and those of `fetchObject`
 */
export async function loadManifest(store: Store, model: string, options: FetchOptions = {}): Promise<LoadedManifest> {
  if (!MODEL_NAME.test(model)) {
    throw new EdgeDitError(
      'invalid-argument',
      `"${model.slice(0, 100)}" is not a model name; names are a-z, 0-9, ".", "_" and "-", 100 characters at most.`,
    );
  }
  const found = await readPointer(store, model, options);
  if (found === undefined) {
    throw new EdgeDitError('model-not-found', `${store.name} has no model "${model}"${await knownModels(store)}.`);
  }
  const { manifest: digest, length } = found.pointer;
  const { object, release } = await fetchObject(store, manifestKey(digest), { sha256: digest, length }, options);
  try {
    const manifest = parseManifest(object.bytes, `${store.name}: ${manifestKey(digest)}`);
    if (manifest.model !== model) {
      throw new EdgeDitError(
        'manifest-invalid',
        `${store.name}: ${pointerKey(model)} leads to a manifest of "${manifest.model}"; publish "${model}" again.`,
      );
    }
    return { manifest, digest };
  } finally {
    release();
  }
}

const MAX_LISTED = 20;

/** Names of the models of a store that can list, in their order. */
export async function* listModels(store: WritableStore): AsyncGenerator<string, void, undefined> {
  for await (const { key } of store.list('models/')) {
    const name = /^models\/(.+)\.json$/.exec(key)?.[1];
    if (name !== undefined && MODEL_NAME.test(name)) yield name;
  }
}

/** For the message: what could have been meant, where the store can tell. */
async function knownModels(store: Store): Promise<string> {
  if (!('list' in store)) return '; check the name, and that the model was published there';
  const names: string[] = [];
  for await (const name of listModels(store as WritableStore)) {
    if (names.push(name) > MAX_LISTED) break;
  }
  if (names.length === 0) return '; it has none, publish one first';
  return `. It has: ${names.slice(0, MAX_LISTED).join(', ')}${names.length > MAX_LISTED ? ', ...' : ''}`;
}
