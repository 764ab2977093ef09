/** What every route of the endpoint finds, and what a request carries from one middleware to the next. */
import type { Context } from 'hono';
import type { Jobs } from './jobs/jobs.ts';
import type { Limits } from './limits.ts';
import type { ModelHost } from './model-host.ts';
import type { Log } from './observe/log.ts';
import type { Metrics } from './observe/metrics.ts';
import type { ApiKey } from './protection/api-keys.ts';
import type { Scheduler } from './scheduler.ts';

export interface AppEnv {
  Variables: {
    /** Whose request it is. */
    key: ApiKey;
    requestId: string;
    /** For the line of this request in the log. */
    logFields: Record<string, unknown>;
  };
}

export type AppContext = Context<AppEnv>;

/** What routes work with: one of each, for the life of an isolate. */
export interface Endpoint {
  readonly models: ModelHost;
  readonly limits: Limits;
  readonly scheduler: Scheduler;
  readonly metrics: Metrics;
  readonly log: Log;
  /** Undefined where nothing outlives a request. */
  readonly jobs: Jobs | undefined;
  /** Names of the addresses that may be told of jobs. */
  readonly webhooks: readonly string[];
}
