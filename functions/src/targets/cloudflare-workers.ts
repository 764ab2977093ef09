/**
 * The worker for Cloudflare and workerd. Shards come from an R2 bucket or over HTTP, through the Cache API; the kernels
 * are modules of the bundle; onnxruntime is imported when the first prompt has no embedding yet. The app is made by the
 * first request and kept as long as the isolate lives.
 */

import { EdgeDitError } from '@edge-dit/runtime/errors';
import { Meter } from '@edge-dit/runtime/meter';
import { createWorkerdOrtRuntime } from '@edge-dit/runtime/onnx/ort-workerd';
import { type CacheApi, cacheApi } from '@edge-dit/runtime/stores/cache-api';
import { cached } from '@edge-dit/runtime/stores/cached';
import { HttpStore } from '@edge-dit/runtime/stores/http';
import { type R2BucketLike, R2Store } from '@edge-dit/runtime/stores/r2';
import type { Store } from '@edge-dit/runtime/stores/store';
import { parseTrustPolicy } from '@edge-dit/runtime/trust';
import float from '@edge-dit/wasm-kernels/kernels.float.wasm';
import relaxed from '@edge-dit/wasm-kernels/kernels.relaxed.wasm';
import simd from '@edge-dit/wasm-kernels/kernels.simd.wasm';
import { createApp } from '../app.ts';
import { embeddingCache } from '../embedding-cache.ts';
import { limitsOf } from '../limits.ts';
import { ModelHost } from '../model-host.ts';
import { problemDetails, problemResponse } from '../problem.ts';

/** Bindings and variables of the worker. */
export interface WorkerEnv {
  /** One of the two: a bucket, or the base URL of a published store (may have a query, which is kept secret). */
  readonly SHARDS?: R2BucketLike;
  readonly SHARDS_URL?: string;
  /** Names of models, separated by commas; the first is the default. */
  readonly MODELS?: string;
  /** MiB for everything that the runtime holds. Default 128. */
  readonly MEMORY_LIMIT_MB?: string;
  /** JSON of a `TrustPolicy`. Without it no signature is looked at. */
  readonly TRUST?: string;
  /** JSON of some of `Limits`. */
  readonly LIMITS?: string;
}

interface ExecutionContext {
  waitUntil(promise: Promise<unknown>): void;
}

type App = ReturnType<typeof createApp>;

let app: App | undefined;

export default {
  fetch(request: Request, env: WorkerEnv, context: ExecutionContext): Response | Promise<Response> {
    try {
      app ??= openApp(env);
    } catch (error) {
      console.error(error);
      // Of the operator's making, not of the client's: never a 4xx.
      return problemResponse({ ...problemDetails(error), status: 500 });
    }
    const response = Promise.resolve(app.fetch(request));
    // When the client leaves, the host would drop the work as it is, and with it the turn of those who wait. So it
    // goes on until the signal of the request has ended it in order.
    context.waitUntil(response.catch(() => {}));
    return response;
  },
};

function openApp(env: WorkerEnv): App {
  const meter = new Meter(memoryLimit(env.MEMORY_LIMIT_MB));
  const cache = cacheApi((caches as unknown as { readonly default: CacheApi }).default);
  const onError = (error: unknown) => console.error('Cache API:', error);
  const models = new ModelHost({
    models: (env.MODELS ?? '').split(',').flatMap((name) => name.trim() || []),
    meter,
    pipeline: {
      // The cache is filled while the shard is held, so that the meter counts its bytes until nobody needs them.
      store: cached(storeOf(env), cache, { onError }),
      trust: env.TRUST === undefined ? undefined : parseTrustPolicy(env.TRUST),
      kernels: { float, simd, relaxed },
      onnx: (counted) =>
        createWorkerdOrtRuntime(
          async () => (await import('onnxruntime-web/ort-wasm-simd-threaded.wasm')).default,
          counted,
        ),
      wrapEncoder: (encoder, manifest) => embeddingCache(encoder, manifest, cache, { onError }),
    },
  });
  return createApp({ models, limits: limitsFrom(env.LIMITS) });
}

function storeOf({ SHARDS, SHARDS_URL }: WorkerEnv): Store {
  if ((SHARDS === undefined) === (SHARDS_URL === undefined)) {
    throw new EdgeDitError(
      'invalid-argument',
      'the worker needs one store: bind an R2 bucket as SHARDS, or set SHARDS_URL to the address of a published store.',
    );
  }
  return SHARDS === undefined ? new HttpStore(SHARDS_URL!) : new R2Store(SHARDS, 'SHARDS');
}

function memoryLimit(megabytes: string | undefined): number | undefined {
  if (megabytes === undefined) return undefined;
  const value = Number(megabytes);
  if (!(value >= 1 && value <= 65_536)) {
    throw new EdgeDitError('invalid-argument', 'MEMORY_LIMIT_MB must be a number of MiB, 1 at least.');
  }
  return value * 2 ** 20;
}

function limitsFrom(json: string | undefined): ReturnType<typeof limitsOf> {
  let given: unknown;
  try {
    given = json === undefined ? undefined : JSON.parse(json);
  } catch (cause) {
    throw new EdgeDitError('invalid-argument', 'LIMITS is not JSON; write for example {"steps": 30}.', { cause });
  }
  return limitsOf(given);
}
