/**
 * A model in, the model with an earlier version in its place out. The version that it had becomes the first of the history,
 * so rolling back again undoes it. An earlier version bears an earlier sequence; with a key it is signed anew.
 */
import { EdgeDitError } from '@edge-dit/runtime/errors';
import { loadVersion, type Version } from '@edge-dit/runtime/load-manifest';
import { objectsOf } from './copy-model.ts';
import { Publication, type PublicationOptions, type Published } from './publication.ts';

export interface RollbackOptions extends PublicationOptions {
  readonly model: string;
  /** The digest of a manifest in the history, or how it begins. Default: the version before. */
  readonly to?: string;
}

export interface RolledBack extends Published {
  /** The version that it had before. */
  readonly replaced: Version;
}

/**
 * @throws EdgeDitError `model-not-found`; `invalid-argument` for a version that is not in the history; `object-missing` for
 *   one that is no longer whole; and what `publish` raises
 */
export async function rollback(options: RollbackOptions): Promise<RolledBack> {
  const { store, model, to, signal } = options;
  const publication = await Publication.begin(model, options);
  const { current } = publication;
  if (current === undefined) throw new EdgeDitError('model-not-found', `${store.name} has no model "${model}".`);
  const version = choose(current.pointer.history ?? [], model, to);
  const { manifest } = await loadVersion(store, model, version, { signal });
  await publication.sendAll(objectsOf(store, manifest, signal));
  return { ...(await publication.complete(manifest)), replaced: current.pointer };
}

function choose(history: readonly Version[], model: string, to: string | undefined): Version {
  const matching = to === undefined ? history.slice(0, 1) : history.filter(({ manifest }) => manifest.startsWith(to));
  if (matching.length === 1) return matching[0];
  const known = history.map(({ manifest, published }) => `\n  ${manifest} ${published ?? ''}`.trimEnd()).join('');
  const problem =
    to === undefined ? 'there is none' : `${matching.length === 0 ? 'none' : 'more than one'} begins with "${to}"`;
  throw new EdgeDitError(
    'invalid-argument',
    `"${model}" cannot go back: of the versions in its history, ${problem}.${known === '' ? '' : ` It has:${known}`}`,
  );
}
