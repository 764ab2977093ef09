/**
 * Bundles the worker and runs it in workerd, by Miniflare. In: a store that Node can open, a folder with a local R2
 * bucket, or the address of a published store. Out: the address of the endpoint, and how to stop it.
 * On its own workerd takes a client whose connection is closed, and not reset, for one that still listens, and goes on
 * with its request; on Cloudflare the signal of the request tells both.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { EdgeDitError } from '@edge-dit/runtime/errors';
import type { Store } from '@edge-dit/runtime/stores/store';
import { Miniflare, type MiniflareOptions } from 'miniflare';
import { bundleWorker, type WorkerBundle } from './bundle-worker.ts';
import { cannotListen, DEFAULT_HOST, type Served } from './listen.ts';
import { serveStore } from './store-server.ts';
import type { ServeOptions } from './targets/target.ts';

export interface ServeWorkerdOptions extends Omit<ServeOptions, 'store'> {
  /** One of three. A store, which the worker reads through a server on this machine, */
  readonly store?: Store;
  /** a folder of Miniflare's (and wrangler's) local R2, where the bucket `shards` is bound, */
  readonly r2Folder?: string;
  /** or the address of a published store. */
  readonly shardsUrl?: string;
  /** Keeps the Cache API's entries beyond the run. Default: they go with it. */
  readonly cacheFolder?: string;
  /** Sees the key of each request to the server of `store`. */
  readonly onStoreRequest?: (key: string) => void;
}

/** What the worker needs of the runtime, on Cloudflare too. */
export const WORKERD_COMPATIBILITY = {
  compatibilityDate: '2026-04-01',
  /** For onnxruntime's module, and so that a client that leaves stops its work. */
  compatibilityFlags: ['nodejs_compat', 'enable_request_signal'],
};

/** The local bucket of `r2Folder`. */
export const R2_BUCKET = 'shards';

/** The worker as it is deployed. */
export async function bundleCloudflareWorker(outdir: string): Promise<WorkerBundle> {
  const entry = fileURLToPath(new URL('targets/cloudflare-workers.js', import.meta.url));
  return bundleWorker({ entry, outdir });
}

/** The worker that only hands out models: see `targets/cloudflare-gateway.ts` for its bindings. */
export async function bundleCloudflareGateway(outdir: string): Promise<WorkerBundle> {
  const entry = fileURLToPath(new URL('targets/cloudflare-gateway.js', import.meta.url));
  return bundleWorker({ entry, outdir });
}

/** @throws EdgeDitError `invalid-argument` unless there is one store, and for an address that cannot be had */
export async function serveWorkerd(options: ServeWorkerdOptions): Promise<Served> {
  const { store, r2Folder, shardsUrl, models, trust, limits, memoryLimitMb, cacheFolder, onStoreRequest } = options;
  const { host = DEFAULT_HOST, port = 0, keys, cors, webhooks, jobsFolder, logLevel = 'warn' } = options;
  if ([store, r2Folder, shardsUrl].filter((place) => place !== undefined).length !== 1) {
    throw new EdgeDitError('invalid-argument', 'serveWorkerd needs one of store, r2Folder and shardsUrl.');
  }
  const folder = await mkdtemp(join(tmpdir(), 'edge-dit-worker-'));
  const closers = [() => rm(folder, { recursive: true })];
  const close = async () => {
    for (const closer of closers.splice(0).reverse()) await closer();
  };
  try {
    const { modules } = await bundleCloudflareWorker(folder);
    const bindings: Record<string, string> = { MODELS: models.join(','), LOG: logLevel };
    if (keys !== undefined) bindings.API_KEYS = JSON.stringify(keys);
    if (cors !== undefined) bindings.CORS_ORIGINS = cors === '*' ? cors : cors.join(',');
    if (webhooks !== undefined) {
      bindings.WEBHOOKS = JSON.stringify(webhooks.addresses);
      bindings.WEBHOOK_SECRET = webhooks.secret;
    }
    if (trust !== undefined) bindings.TRUST = JSON.stringify(trust);
    if (limits !== undefined) bindings.LIMITS = JSON.stringify(limits);
    if (memoryLimitMb !== undefined) bindings.MEMORY_LIMIT_MB = String(memoryLimitMb);
    if (shardsUrl !== undefined) bindings.SHARDS_URL = shardsUrl;
    if (store !== undefined) {
      const server = await serveStore(store, { onRequest: onStoreRequest });
      closers.push(server.close);
      bindings.SHARDS_URL = server.url;
    }
    const settings: MiniflareOptions = {
      ...WORKERD_COMPATIBILITY,
      modules: [...modules],
      modulesRoot: '.',
      // Clients reach the worker as they do on Cloudflare: past Miniflare's own worker in front, whose memory grows with each request.
      unsafeDirectSockets: [{ host, port }],
      bindings,
      durableObjects: { JOBS: { className: 'JobObject', useSQLite: true } },
      ...(jobsFolder !== undefined && { durableObjectsPersist: jobsFolder }),
      ...(r2Folder !== undefined && { r2Buckets: { SHARDS: R2_BUCKET }, r2Persist: r2Folder }),
      ...(cacheFolder !== undefined && { cachePersist: cacheFolder }),
    };
    const miniflare = new Miniflare(settings);
    closers.push(() => miniflare.dispose());
    await miniflare.ready.catch((cause) => {
      throw cannotListen(host, port, cause);
    });
    const url = await miniflare.unsafeGetDirectURL();
    return { url: url.origin, close };
  } catch (error) {
    await close();
    throw error;
  }
}
