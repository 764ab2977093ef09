/**
 * A worker for Cloudflare that only hands out models, from an R2 bucket or a published store, through the Cache API: for
 * phones and for workers elsewhere. It computes nothing, so it is small and runs where CPU time is short.
 */
import { EdgeDitError } from '@edge-dit/runtime/errors';
import { type CacheApi, cacheApi } from '@edge-dit/runtime/stores/cache-api';
import { cached } from '@edge-dit/runtime/stores/cached';
import { HttpStore } from '@edge-dit/runtime/stores/http';
import { type R2BucketLike, R2Store } from '@edge-dit/runtime/stores/r2';
import { listOf } from '../environment.ts';
import { createGateway } from '../gateway/gateway.ts';
import { problemDetails, problemResponse } from '../problem.ts';

/** Bindings and variables of the worker. */
export interface GatewayEnv {
  /** One of the two: a bucket, or the base URL of a published store (may have a query, which is kept secret). */
  readonly SHARDS?: R2BucketLike;
  readonly SHARDS_URL?: string;
  /** Names of models, separated by commas. */
  readonly MODELS?: string;
  /** Origins of pages that may read, separated by commas, or `*`. */
  readonly CORS_ORIGINS?: string;
  /** Of signed addresses; a secret. Without it the models are public. */
  readonly SIGNING_SECRET?: string;
}

let app: ReturnType<typeof createGateway> | undefined;

export default {
  fetch(request: Request, env: GatewayEnv): Response | Promise<Response> {
    try {
      app ??= openGateway(env);
    } catch (error) {
      console.error(error);
      return problemResponse({ ...problemDetails(error), status: 500 });
    }
    return app.fetch(request);
  },
};

function openGateway({ SHARDS, SHARDS_URL, MODELS = '', CORS_ORIGINS, SIGNING_SECRET }: GatewayEnv) {
  const models = listOf(MODELS);
  if (models.length === 0 || (SHARDS === undefined) === (SHARDS_URL === undefined)) {
    const message = 'the gateway needs MODELS, and one store: an R2 bucket bound as SHARDS, or SHARDS_URL.';
    throw new EdgeDitError('invalid-argument', message);
  }
  const store = SHARDS === undefined ? new HttpStore(SHARDS_URL!) : new R2Store(SHARDS, 'SHARDS');
  const cache = cacheApi((caches as unknown as { readonly default: CacheApi }).default);
  const onError = (error: unknown) => console.error('Cache API:', error);
  const origins = CORS_ORIGINS === '*' ? '*' : CORS_ORIGINS === undefined ? undefined : listOf(CORS_ORIGINS);
  return createGateway({ store: cached(store, cache, { onError }), models, cors: origins, secret: SIGNING_SECRET });
}
