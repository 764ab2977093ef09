/**
 * A model as users write it in, its store and name out. One syntax with three forms: `<store>#<name>`, always;
 * `<store>/<name>`; and `<store>` alone, where it holds exactly one model.
 */
import { EdgeDitError, isEdgeDitError } from '@edge-dit/runtime/errors';
import type { FetchOptions } from '@edge-dit/runtime/fetch';
import { MODEL_NAME } from '@edge-dit/runtime/format/keys';
import { listModels, readPointer } from '@edge-dit/runtime/load-manifest';
import type { Store, WritableStore } from '@edge-dit/runtime/stores/store';
import { openStore } from './stores.ts';

export interface ModelReference {
  /** The store as it was written, without the model. */
  readonly place: string;
  readonly store: Store;
  readonly model: string;
}

const MAX_LISTED = 20;

/** How to write a model of a store; `resolveModel` reads it back. */
export function referenceOf(place: string, model: string): string {
  return place.includes('#') || place.includes('?') ? `${place}#${model}` : `${place.replace(/\/+$/, '')}/${model}`;
}

/**
 * Finds the model that a reference names. With `<store>#<name>` nothing is fetched; otherwise the pointer of
 * `<store>/<name>` is looked for first.
 * @throws EdgeDitError `invalid-argument` for a malformed or ambiguous reference, `model-not-found` listing the models
 *   that are there, and the errors of the store
 */
export async function resolveModel(reference: string, options: FetchOptions = {}): Promise<ModelReference> {
  const hash = reference.lastIndexOf('#');
  if (hash >= 0) return explicit(reference, reference.slice(0, hash), reference.slice(hash + 1));
  const parent = splitLast(reference);
  let failure: unknown;
  if (parent !== undefined) {
    const store = openStore(parent.place);
    try {
      if (await readPointer(store, parent.model, options)) return { ...parent, store };
    } catch (error) {
      if (!isEdgeDitError(error, 'store-denied')) throw error;
      // A key may open `<store>` and not what lies above it.
      failure = error;
    }
  }
  const store = openStore(reference);
  const names = await modelsOf(store).catch((error) => {
    throw failure ?? error;
  });
  if (names?.length === 1) return { place: reference, store, model: names[0] };
  if (names !== undefined && names.length > 1) {
    throw new EdgeDitError(
      'invalid-argument',
      `${store.name} holds ${names.length} models, so say which: ${shown(names.map((name) => referenceOf(reference, name)))}.`,
    );
  }
  throw failure ?? (await notFound(reference, parent, store));
}

function explicit(reference: string, place: string, model: string): ModelReference {
  if (place === '' || !MODEL_NAME.test(model)) {
    throw new EdgeDitError(
      'invalid-argument',
      `"${reference}" is not <store>#<name>; names are a-z, 0-9, ".", "_" and "-", 100 characters at most.`,
    );
  }
  return { place, store: openStore(place), model };
}

/** `a/b` as a store and a name; a query (a token) stays with the store. Undefined where the last part is no name. */
function splitLast(reference: string): { place: string; model: string } | undefined {
  const [, root, path, query = ''] = /^((?:[A-Za-z][A-Za-z0-9+.-]+:)?(?:\/\/[^/?]*)?)([^?]*)(\?.*)?$/.exec(reference)!;
  const trimmed = path.replace(/\/+$/, '');
  const at = trimmed.lastIndexOf('/');
  const model = trimmed.slice(at + 1);
  if (!MODEL_NAME.test(model)) return undefined;
  const hasHost = /\/\/[^/]+$/.test(root);
  const folder = at > 0 ? trimmed.slice(0, at) : at < 0 ? '.' : hasHost ? '' : '/';
  return { place: `${root}${folder}${query}`, model };
}

/** In their order; undefined where the store cannot tell. */
async function modelsOf(store: Store): Promise<string[] | undefined> {
  if (!('list' in store)) return undefined;
  const names: string[] = [];
  for await (const name of listModels(store as WritableStore)) names.push(name);
  return names;
}

async function notFound(
  reference: string,
  parent: { place: string; model: string } | undefined,
  store: Store,
): Promise<EdgeDitError> {
  const places = parent === undefined ? [store] : [openStore(parent.place), store];
  const looked = await Promise.all(places.map(async (place) => `${place.name} ${holds(await modelsOf(place))}`));
  return new EdgeDitError(
    'model-not-found',
    `no model at "${withoutQuery(reference)}": ${looked.join('; ')}. Write <store>/<name> or <store>#<name>.`,
  );
}

const withoutQuery = (reference: string) => reference.replace(/\?.*$/, '');

function holds(names: readonly string[] | undefined): string {
  if (names === undefined) return 'does not have it, and cannot list what it has';
  return names.length === 0 ? 'holds no models' : `holds ${shown(names)}`;
}

function shown(names: readonly string[]): string {
  return `${names.slice(0, MAX_LISTED).join(', ')}${names.length > MAX_LISTED ? ', …' : ''}`;
}
