/**
 * The endpoint, as a hono app that runs on every target: its routes, and what goes around them. Everything is checked before
 * work is done for a request; a client that leaves stops its work; errors are problem details (RFC 9457).
 */

import { cors } from 'hono/cors';
import { secureHeaders } from 'hono/secure-headers';
import { Hono } from 'hono/tiny';
import type { AppEnv, Endpoint } from './app-env.ts';
import type { Jobs } from './jobs/jobs.ts';
import { type Limits, limitsOf } from './limits.ts';
import type { ModelHost } from './model-host.ts';
import { consoleLog, errorFields, type Log } from './observe/log.ts';
import { Metrics } from './observe/metrics.ts';
import { observeRequests } from './observe/requests.ts';
import { playground } from './playground/playground.ts';
import { Problem, problemDetails, problemResponse } from './problem.ts';
import { type ApiKey, checkApiKeys } from './protection/api-keys.ts';
import { type Protection, protect } from './protection/protect.ts';
import { type RateLimiter, RateLimits } from './protection/rate-limits.ts';
import { problemOf } from './refusals.ts';
import { embedHandler } from './routes/embed.ts';
import { generateHandler } from './routes/generate.ts';
import { jobHandlers } from './routes/jobs.ts';
import { systemHandlers } from './routes/system.ts';
import { Scheduler } from './scheduler.ts';

export interface EndpointOptions {
  readonly models: ModelHost;
  readonly limits?: Partial<Limits>;
  /** Default: a line of JSON for each request, to the console. */
  readonly log?: Log;
}

export interface AppOptions extends EndpointOptions {
  /** Made before, where jobs share it. */
  readonly endpoint?: Endpoint;
  /** Without it there are no jobs. */
  readonly jobs?: Jobs;
  /** Names of webhooks that requests may give. */
  readonly webhooks?: readonly string[];
  /** Without it everybody may ask. */
  readonly keys?: readonly ApiKey[];
  /** The platform's limiter, beside the keys' own limits. */
  readonly rateLimiter?: RateLimiter;
  /** Origins of pages that may ask, such as `https://example.com`, or `*` for all. Default: those of the endpoint itself. */
  readonly cors?: readonly string[] | '*';
  /** Shards and manifests for others: see `createGateway`. */
  readonly gateway?: Hono;
}

/** Below it the client is at fault and was told so. */
const FIRST_SERVER_ERROR = 500;
const EXPOSED = [
  ...[
    'x-seed',
    'x-model',
    'x-model-digest',
    'x-steps',
    'x-guidance',
    'x-request-id',
    'x-memory-peak',
    'x-streamed-blocks',
    'x-engine',
    'x-encoder',
  ],
  ...['server-timing', 'location', 'retry-after', 'preference-applied', 'idempotent-replayed'],
];

/** What the routes, and the jobs beside them, work with. */
export function createEndpoint({ models, limits: given, log = consoleLog() }: EndpointOptions): Endpoint {
  const limits = limitsOf(given);
  const scheduler = new Scheduler(limits);
  return { models, limits, scheduler, metrics: new Metrics(), log, jobs: undefined, webhooks: [] };
}

export function createApp(options: AppOptions): Hono<AppEnv> {
  const { jobs, webhooks = [], rateLimiter, gateway } = options;
  const endpoint: Endpoint = { ...(options.endpoint ?? createEndpoint(options)), jobs, webhooks };
  const { models, metrics, log } = endpoint;
  const keys = options.keys && checkApiKeys(options.keys);
  if (keys === undefined) log({ level: 'warn', event: 'open', message: OPEN });
  const computing: Protection = { keys, limits: new RateLimits(rateLimiter) };
  const generating = protect(computing, 'generate');
  const following = protect({ keys }, 'generate');
  const job = jobHandlers(endpoint);
  const system = systemHandlers(endpoint);

  const app = new Hono<AppEnv>();
  app.use(observeRequests(metrics, log));
  app.use(secureHeaders({ overwrite: false }));
  if (options.cors !== undefined) {
    const origin = options.cors === '*' ? '*' : [...options.cors];
    app.use(cors({ origin, exposeHeaders: EXPOSED, maxAge: 86_400 }));
  }
  app.post('/generate', generating, generateHandler(endpoint));
  app.post('/embed', generating, embedHandler(endpoint));
  app.get('/jobs/:id', following, job.state);
  app.get('/jobs/:id/result', following, job.result);
  app.delete('/jobs/:id', following, job.cancel);
  app.get('/models', protect({ keys }, 'models'), system.models);
  app.get('/metrics', protect({ keys }, 'metrics'), system.metrics);
  app.get('/', playground);
  app.get('/healthz', system.health);
  app.get('/openapi.json', system.openapi);
  for (const [path, methods] of ROUTES) {
    app.all(path, (c) => {
      throw new Problem('method-not-allowed', `${path} takes ${methods}, not ${c.req.method}.`, {
        headers: { allow: methods },
      });
    });
  }
  if (gateway) app.route('/', gateway);
  app.notFound(() => {
    const known = ROUTES.map(([path, methods]) => `${methods} ${path}`).join('; ');
    return problemResponse(problemDetails(new Problem('route-not-found', `there is nothing here. Known: ${known}.`)));
  });
  app.onError((raised, c) => {
    const error = problemOf(raised);
    const details = problemDetails(error, (text) => models.redact(text));
    const fields = c.get('logFields') ?? {};
    fields.problem = details.type;
    // What was refused on purpose needs no stack.
    if (details.status >= FIRST_SERVER_ERROR && !(raised instanceof Problem))
      Object.assign(fields, errorFields(raised));
    return problemResponse(details, error instanceof Problem ? error.headers : {});
  });
  return app;
}

const OPEN = 'no keys are configured: whoever reaches this endpoint may use it. Set API_KEYS to change that.';

const ROUTES = [
  ['/', 'GET, HEAD'],
  ['/generate', 'POST'],
  ['/embed', 'POST'],
  ['/jobs/:id', 'GET, HEAD, DELETE'],
  ['/jobs/:id/result', 'GET, HEAD'],
  ['/models', 'GET, HEAD'],
  ['/metrics', 'GET, HEAD'],
  ['/healthz', 'GET, HEAD'],
  ['/openapi.json', 'GET, HEAD'],
] as const;
