/** Lets in who may ask, as often as they may: a middleware of the routes that need a key, where keys are configured. */
import type { MiddlewareHandler } from 'hono';
import type { AppEnv } from '../app-env.ts';
import { ANYBODY, type ApiKey, authenticate, type Scope } from './api-keys.ts';
import type { RateLimits } from './rate-limits.ts';

export interface Protection {
  /** Undefined: everybody may ask for everything. */
  readonly keys: readonly ApiKey[] | undefined;
  /** Of what computes. Looking at a job, and above all ending it, is not refused to who has too many. */
  readonly limits?: RateLimits;
}

export function protect({ keys, limits }: Protection, scope: Scope): MiddlewareHandler<AppEnv> {
  return async (c, next) => {
    const key = keys === undefined ? ANYBODY : await authenticate(keys, c.req.header('authorization'), scope);
    c.set('key', key);
    c.get('logFields').key = key.name;
    if (limits === undefined) return next();
    const end = await limits.admit(key);
    try {
      await next();
    } finally {
      releaseAfter(c.res, end, (response) => {
        c.res = response;
      });
    }
  };
}

/** A stream is under way until it has been read, or left. */
function releaseAfter(response: Response, end: () => void, replace: (response: Response) => void): void {
  const stream = response.headers.get('content-type')?.startsWith('text/event-stream');
  if (!stream || response.body === null) {
    end();
    return;
  }
  const reader = response.body.getReader();
  const watched = new ReadableStream<Uint8Array>({
    async pull(controller) {
      const { done, value } = await reader.read().catch((error) => {
        end();
        throw error;
      });
      if (!done) return controller.enqueue(value);
      end();
      controller.close();
    },
    cancel(reason) {
      end();
      return reader.cancel(reason);
    },
  });
  replace(new Response(watched, response));
}
