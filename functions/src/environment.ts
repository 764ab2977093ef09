/** The variables of an endpoint in, checked settings out: the same names on every target. What is wrong names the variable. */
import { EdgeDitError } from '@edge-dit/runtime/errors';
import { parseTrustPolicy, type TrustPolicy } from '@edge-dit/runtime/trust';
import { parseWebhooks, type WebhookSettings } from './jobs/webhooks.ts';
import { type Limits, limitsOf } from './limits.ts';
import { consoleLog, type Log } from './observe/log.ts';
import { type ApiKey, parseApiKeys } from './protection/api-keys.ts';

export interface EndpointEnvironment {
  /** Names of models, separated by commas; the first is the default. */
  readonly MODELS?: string;
  /** MiB for everything that the runtime holds. Default 128. */
  readonly MEMORY_LIMIT_MB?: string;
  /** JSON of a `TrustPolicy`. Without it no signature is looked at. */
  readonly TRUST?: string;
  /** JSON of some of `Limits`. */
  readonly LIMITS?: string;
  /** JSON of a list of `ApiKey`s, with their SHA-256. Without it everybody may ask. */
  readonly API_KEYS?: string;
  /** Origins of pages that may ask, separated by commas, or `*`. */
  readonly CORS_ORIGINS?: string;
  /** JSON of addresses by name, and the secret by which they check that they are told by this endpoint. */
  readonly WEBHOOKS?: string;
  readonly WEBHOOK_SECRET?: string;
  /** What is logged: `info` (the default) for every request, `warn`, or `error`. */
  readonly LOG?: string;
}

/** What `edge-dit bundle` found in the project's edge-dit.json, as JSON of variables; the bundler defines it. */
declare const __EDGE_DIT_VARIABLES__: string | undefined;

/** The variables, with those of the project's configuration where the place itself sets none. */
export function configured<T extends object>(env: T): T {
  return typeof __EDGE_DIT_VARIABLES__ === 'undefined' ? env : { ...JSON.parse(__EDGE_DIT_VARIABLES__), ...env };
}

export interface EndpointSettings {
  readonly models: readonly string[];
  /** Bytes; undefined is the runtime's default. */
  readonly memoryLimit: number | undefined;
  readonly trust: TrustPolicy | undefined;
  readonly limits: Limits;
  readonly keys: readonly ApiKey[] | undefined;
  readonly cors: readonly string[] | '*' | undefined;
  readonly webhooks: WebhookSettings | undefined;
  readonly log: Log;
}

/** @throws EdgeDitError `invalid-argument` naming the variable */
export function endpointSettings(env: EndpointEnvironment): EndpointSettings {
  return {
    models: listOf(env.MODELS ?? ''),
    memoryLimit: memoryLimit(env.MEMORY_LIMIT_MB),
    trust: env.TRUST === undefined ? undefined : parseTrustPolicy(env.TRUST),
    limits: limitsFrom(env.LIMITS),
    keys: env.API_KEYS === undefined ? undefined : parseApiKeys(env.API_KEYS),
    cors: env.CORS_ORIGINS === undefined ? undefined : env.CORS_ORIGINS === '*' ? '*' : listOf(env.CORS_ORIGINS),
    webhooks: parseWebhooks(env.WEBHOOKS, env.WEBHOOK_SECRET),
    log: consoleLog(logLevel(env.LOG)),
  };
}

/** Names separated by commas. */
export const listOf = (text: string): string[] => text.split(',').flatMap((item) => item.trim() || []);

function memoryLimit(megabytes: string | undefined): number | undefined {
  if (megabytes === undefined) return undefined;
  const value = Number(megabytes);
  if (!(value >= 1 && value <= 65_536)) {
    throw new EdgeDitError('invalid-argument', 'MEMORY_LIMIT_MB must be a number of MiB, 1 at least.');
  }
  return value * 2 ** 20;
}

function logLevel(text = 'info'): 'info' | 'warn' | 'error' {
  if (text === 'info' || text === 'warn' || text === 'error') return text;
  throw new EdgeDitError('invalid-argument', 'LOG must be info, warn or error.');
}

function limitsFrom(json: string | undefined): Limits {
  let given: unknown;
  try {
    given = json === undefined ? undefined : JSON.parse(json);
  } catch (cause) {
    throw new EdgeDitError('invalid-argument', 'LIMITS is not JSON; write for example {"steps": 30}.', { cause });
  }
  return limitsOf(given);
}
