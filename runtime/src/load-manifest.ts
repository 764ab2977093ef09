/** A model's name in, its manifest out: the pointer says which manifest is current, its digest says that it is that one. */
import * as z from 'zod/mini';
import { EdgeDitError, isEdgeDitError } from './errors.ts';
import { type FetchOptions, fetchObject, readSmall } from './fetch.ts';
import { parseBoundedJson } from './format/json.ts';
import { MODEL_NAME, manifestKey, pointerKey, SHA256_HEX } from './format/keys.ts';
import { MAX_HISTORY, MAX_MANIFEST_BYTES, MAX_POINTER_BYTES } from './format/limits.ts';
import { type Manifest, parseManifest } from './format/manifest.ts';
import type { Store, WritableStore } from './stores/store.ts';
import { checkTrust, type TrustPolicy } from './trust.ts';
import { zodMessages } from './zod-messages.ts';

const version = {
  manifest: z.string().check(z.regex(SHA256_HEX)),
  length: z.int().check(z.minimum(1), z.maximum(MAX_MANIFEST_BYTES)),
  published: z.optional(z.string()),
};
const pointerSchema = z.object({
  ...version,
  history: z.optional(z.array(z.object(version)).check(z.maxLength(MAX_HISTORY))),
});

/** What `models/<name>.json` holds: digest and length of the current manifest, and of those before it, newest first. */
export type Pointer = z.infer<typeof pointerSchema>;
/** A manifest as a pointer names it. `published` is an ISO time. */
export type Version = Omit<Pointer, 'history'>;

export interface LoadManifestOptions extends FetchOptions {
  /** Whose signatures are accepted. Without it none is looked at. */
  readonly trust?: TrustPolicy;
}

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
 * @throws EdgeDitError `model-not-found`, `manifest-invalid`, `manifest-untrusted`, and those of `fetchObject`
 */
export async function loadManifest(
  store: Store,
  model: string,
  options: LoadManifestOptions = {},
): Promise<LoadedManifest> {
  if (!MODEL_NAME.test(model)) {
    throw new EdgeDitError(
      'invalid-argument',
      `"${model.slice(0, 100)}" is not a model name; names are a-z, 0-9, ".", "_" and "-", 100 characters at most.`,
    );
  }
  try {
    return await loadCurrent(store, model, options);
  } catch (error) {
    // An old pointer in a cache leads to what was deleted; a damaged one has no digest by which it would be noticed.
    if (!isEdgeDitError(error, 'object-missing') && !isEdgeDitError(error, 'manifest-invalid')) throw error;
    return loadCurrent(store, model, { ...options, fresh: true });
  }
}

async function loadCurrent(store: Store, model: string, options: LoadManifestOptions): Promise<LoadedManifest> {
  const found = await readPointer(store, model, options);
  if (found === undefined) {
    throw new EdgeDitError('model-not-found', `${store.name} has no model "${model}"${await knownModels(store)}.`);
  }
  return loadVersion(store, model, found.pointer, options);
}

/** As `loadManifest`, for the version that a pointer names. */
export async function loadVersion(
  store: Store,
  model: string,
  { manifest: digest, length }: Version,
  options: LoadManifestOptions = {},
): Promise<LoadedManifest> {
  const what = `${store.name}: ${manifestKey(digest)}`;
  const { object, release } = await fetchObject(store, manifestKey(digest), { sha256: digest, length }, options);
  try {
    const manifest = parseManifest(object.bytes, what);
    if (manifest.model !== model) {
      throw new EdgeDitError(
        'manifest-invalid',
        `${store.name}: ${pointerKey(model)} leads to a manifest of "${manifest.model}"; publish "${model}" again.`,
      );
    }
    if (options.trust !== undefined) await checkTrust(manifest, options.trust, what);
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
