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
import type { ExecutionContext } from 'hono';
import { createApp, createEndpoint } from '../app.ts';
import { configured, type EndpointEnvironment, endpointSettings } from '../environment.ts';
import { DurableJobs, type JobNamespace } from '../jobs/durable-jobs.ts';
import type { JobEngineOptions } from '../jobs/job-engine.ts';
import { jobObjectClass } from '../jobs/job-object.ts';
import { ModelHost } from '../model-host.ts';
import { problemDetails, problemResponse } from '../problem.ts';
import type { RateLimiter } from '../protection/rate-limits.ts';

/** Bindings and variables of the worker. */
export interface WorkerEnv extends EndpointEnvironment {
  /** One of the two: a bucket, or the base URL of a published store (may have a query, which is kept secret). */
  readonly SHARDS?: R2BucketLike;
  readonly SHARDS_URL?: string;
  /** Of the class `JobObject`, with SQLite storage. Without it there are no jobs. */
  readonly JOBS?: JobNamespace;
  /** The platform's limiter, asked by the name of the key. */
  readonly RATE_LIMITER?: RateLimiter;
}

/** What an isolate has one of: requests and the jobs that run in it share models, memory and turns. */
interface Isolate {
  readonly app: ReturnType<typeof createApp>;
  readonly jobs: Omit<JobEngineOptions, 'store'>;
}

let isolate: Isolate | undefined;

const opened = (env: WorkerEnv): Isolate => (isolate ??= open(configured(env)));

/** The class that the binding `JOBS` names. */
export const JobObject = jobObjectClass<WorkerEnv>((env) => opened(env).jobs);

export default {
  fetch(request: Request, env: WorkerEnv, context: ExecutionContext): Response | Promise<Response> {
    let app: Isolate['app'];
    try {
      ({ app } = opened(env));
    } catch (error) {
      console.error(error);
      // Of the operator's making, not of the client's: never a 4xx.
      return problemResponse({ ...problemDetails(error), status: 500 });
    }
    const response = Promise.resolve(app.fetch(request, env, context));
    // When the client leaves, the host would drop the work as it is, and with it the turn of those who wait. So it
    // goes on until the signal of the request has ended it in order.
    context.waitUntil(response.catch(() => {}));
    return response;
  },
};

function open(env: WorkerEnv): Isolate {
  const { models: names, memoryLimit, trust, limits, keys, cors, webhooks, log } = endpointSettings(env);
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
  const endpoint = createEndpoint({ models, limits, log });
  const app = createApp({
    models,
    endpoint,
    jobs: env.JOBS && new DurableJobs(env.JOBS),
    webhooks: Object.keys(webhooks?.addresses ?? {}),
    keys,
    cors,
    rateLimiter: env.RATE_LIMITER,
  });
  return { app, jobs: { endpoint, webhooks } };
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
