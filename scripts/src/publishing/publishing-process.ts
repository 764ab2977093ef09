/**
 * A process that publishes and prunes when told to, and tells of each step before and after it, so that its parent can kill
 * it in between. Its argument is the store of the versioned models. It is told by messages (`Task`), and answers by messages (`Told`).
 */
import { isEdgeDitError } from '@edge-dit/runtime/errors';
import type { WritableStore } from '@edge-dit/runtime/stores/store';
import { prune } from '@edge-dit/sdk/publish/prune';
import { publish } from '@edge-dit/sdk/publish/publish';
import { openStore, openWritableStore } from '@edge-dit/sdk/stores';
import { VersionedModels } from '@edge-dit/sdk/testing/versioned-models';
import { openSigningKey } from '@edge-dit/sdk/trust/signing-key';

export type Task =
  | {
      readonly publish: {
        readonly place: string;
        readonly model: string;
        readonly version: number;
        readonly pem: string;
      };
      /** Waits, once the pointer was read, for `go`. */
      readonly hold?: boolean;
    }
  | { readonly prune: { readonly place: string; readonly graceMs: number; readonly leaseMs: number } }
  | { readonly go: true };

export type Told =
  | { readonly ready: true }
  | { readonly held: true }
  /** `before put shards/ab...`, `after put ...`. */
  | { readonly step: string }
  | { readonly done: { readonly digest: string; readonly sentBytes: number } | Record<string, never> }
  | { readonly failed: { readonly code: string; readonly message: string } };

const tell = (told: Told) => process.send!(told);
const models = await VersionedModels.read(openStore(process.argv[2]));
let go = () => {};

process.on('message', async (task: Task) => {
  if ('go' in task) return go();
  try {
    if ('prune' in task) {
      const { place, ...options } = task.prune;
      await prune({ store: watched(openWritableStore(place)), ...options });
      tell({ done: {} });
    } else {
      const { place, model, version, pem } = task.publish;
      const store = watched(openWritableStore(place), task.hold ? `get models/${model}.json` : undefined);
      const sign = { key: await openSigningKey(pem, 'the key') };
      const { digest, sentBytes } = await publish({ ...(await models.version(model, version)), store, sign });
      tell({ done: { digest, sentBytes } });
    }
  } catch (error) {
    tell({ failed: { code: isEdgeDitError(error) ? error.code : 'unknown', message: String(error) } });
  }
});
tell({ ready: true });

/** A store that tells of each step; after the first that is named `holdAfter` it waits for `go`. */
function watched(store: WritableStore, holdAfter?: string): WritableStore {
  let hold = holdAfter;
  const around = async <T>(step: string, work: () => Promise<T>): Promise<T> => {
    tell({ step: `before ${step}` });
    const result = await work();
    tell({ step: `after ${step}` });
    if (step === hold) {
      hold = undefined;
      const going = new Promise<void>((resolve) => {
        go = resolve;
      });
      tell({ held: true });
      await going;
    }
    return result;
  };
  return {
    name: store.name,
    get: (key, options) => around(`get ${key}`, () => store.get(key, options)),
    head: (key, options) => around(`head ${key}`, () => store.head(key, options)),
    put: (key, bytes, options) => around(`put ${key}`, () => store.put(key, bytes, options)),
    delete: (key, options) => around(`delete ${key}`, () => store.delete(key, options)),
    list: (prefix) => store.list(prefix),
  };
}
