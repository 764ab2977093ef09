/** Each request with an id, a line in the log, and its figures: what goes around all routes. */
import type { MiddlewareHandler } from 'hono';
import { routePath } from 'hono/route';
import type { AppEnv } from '../app-env.ts';
import type { Log } from './log.ts';
import type { Metrics } from './metrics.ts';

const REQUEST_ID = /^[\w.=-]{1,128}$/;
const METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']);
const FIRST_SERVER_ERROR = 500;
/** Of a server that works as it should: no jobs here, too busy, too slow. */
const REFUSALS = [501, 503, 504];

/** Takes the client's `x-request-id` where it is one, and echoes it. */
export function observeRequests(metrics: Metrics, log: Log): MiddlewareHandler<AppEnv> {
  return async (c, next) => {
    const given = c.req.header('x-request-id');
    const id = given !== undefined && REQUEST_ID.test(given) ? given : crypto.randomUUID();
    c.set('requestId', id);
    c.set('logFields', {});
    const start = performance.now();
    await next();
    c.res.headers.set('x-request-id', id);
    const ms = performance.now() - start;
    const { status } = c.res;
    // The pattern, not the path: there are few of them.
    const route = routePath(c, -1);
    // Some hosts take any word for a method: each would be a line of the figures for ever.
    const method = METHODS.has(c.req.method) ? c.req.method : 'other';
    const labels = { route: route === '*' || route === '/*' ? 'none' : route, method, status };
    metrics.add('edge_dit_requests_total', 'Requests that were answered.', labels);
    metrics.observe('edge_dit_request_seconds', 'Time until the answer began.', { route: labels.route }, ms / 1000);
    log({
      level: status < FIRST_SERVER_ERROR ? 'info' : REFUSALS.includes(status) ? 'warn' : 'error',
      event: 'request',
      request_id: id,
      ...labels,
      ms: Math.round(ms),
      ...c.get('logFields'),
    });
  };
}
