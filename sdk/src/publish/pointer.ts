/** The pointer of a model as writers see it: read with its etag, moved only if it is still the one that was read. */
import { EdgeDitError, isEdgeDitError } from '@edge-dit/runtime/errors';
import { pointerKey } from '@edge-dit/runtime/format/keys';
import { MAX_HISTORY } from '@edge-dit/runtime/format/limits';
import { type Pointer, readPointer, type Version } from '@edge-dit/runtime/load-manifest';
import type { WritableStore } from '@edge-dit/runtime/stores/store';
import { isoSeconds } from '../trust/sign-manifest.ts';

export interface Current {
  readonly pointer: Pointer;
  readonly etag: string;
}

export async function readCurrent(
  store: WritableStore,
  model: string,
  signal?: AbortSignal,
): Promise<Current | undefined> {
  const found = await readPointer(store, model, { signal });
  if (found === undefined) return undefined;
  if (found.etag === undefined) {
    throw new EdgeDitError('internal', `${store.name}: get ${pointerKey(model)} gave no etag; a writable store must.`);
  }
  return { pointer: found.pointer, etag: found.etag };
}

/**
 * Points the model to `version`; the version of before becomes the first of the history, whose oldest is forgotten.
 * @throws EdgeDitError `precondition-failed` where the pointer is no longer `current`, naming whose version it has
 */
export async function movePointer(
  store: WritableStore,
  model: string,
  { manifest, length }: Version,
  current: Current | undefined,
  signal?: AbortSignal,
): Promise<void> {
  const history = current === undefined ? [] : historyAfter(current.pointer, manifest);
  const pointer: Pointer = { manifest, length, published: isoSeconds(Date.now()), history };
  const condition = current === undefined ? { ifNoneMatch: '*' as const } : { ifMatch: current.etag };
  const bytes = new TextEncoder().encode(`${JSON.stringify(pointer)}\n`);
  try {
    await store.put(pointerKey(model), bytes, { ...condition, signal, contentType: 'application/json' });
  } catch (error) {
    if (!isEdgeDitError(error, 'precondition-failed')) throw error;
    // A put whose answer was lost is sent again by the SDK, and then refused because it succeeded.
    const theirs = (await readCurrent(store, model, signal).catch(() => undefined))?.pointer.manifest;
    if (theirs === manifest) return;
    const which = theirs === undefined ? '' : ` (${theirs.slice(0, 12)})`;
    throw new EdgeDitError(
      'precondition-failed',
      `${store.name}: somebody else published "${model}"${which} at the same time; look at theirs, then publish again.`,
      { cause: error },
    );
  }
}

function historyAfter({ history = [], ...last }: Pointer, next: string): Version[] {
  return [last, ...history].filter(({ manifest }) => manifest !== next).slice(0, MAX_HISTORY);
}
