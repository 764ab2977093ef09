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
import { embeddingCache } from '@edge-dit/runtime/text/embedding-cache';
import float from '@edge-dit/wasm-kernels/kernels.float.wasm';
import relaxed from '@edge-dit/wasm-kernels/kernels.relaxed.wasm';
import simd from '@edge-dit/wasm-kernels/kernels.simd.wasm';
import { createApp } from '../app.ts';
import { configured, type EndpointEnvironment, endpointSettings } from '../environment.ts';
import { ModelHost } from '../model-host.ts';
import { problemDetails, problemResponse } from '../problem.ts';

/** Bindings and variables of the worker. */
export interface WorkerEnv extends EndpointEnvironment {
  /** One of the two: a bucket, or the base URL of a published store (may have a query, which is kept secret). */
  readonly SHARDS?: R2BucketLike;
  readonly SHARDS_URL?: string;
}

interface ExecutionContext {
  waitUntil(promise: Promise<unknown>): void;
}

type App = ReturnType<typeof createApp>;

let app: App | undefined;

export default {
  fetch(request: Request, env: WorkerEnv, context: ExecutionContext): Response | Promise<Response> {
    try {
      app ??= openApp(configured(env));
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
  const { models: names, memoryLimit, trust, limits } = endpointSettings(env);
  const meter = new Meter(memoryLimit);
  const cache = cacheApi((caches as unknown as { readonly default: CacheApi }).default);
  const onError = (error: unknown) => console.error('Cache API:', error);
  const models = new ModelHost({
    models: names,
    meter,
    pipeline: {
      // The cache is filled while the shard is held, so that the meter counts its bytes until nobody needs them.
      store: cached(storeOf(env), cache, { onError }),
      trust,
      kernels: { float, simd, relaxed },
      onnx: (counted) =>
        createWorkerdOrtRuntime(
          async () => (await import('onnxruntime-web/ort-wasm-simd-threaded.wasm')).default,
          counted,
        ),
      wrapEncoder: (encoder, manifest) => embeddingCache(encoder, manifest, cache, { onError }),
    },
  });
  return createApp({ models, limits });
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
