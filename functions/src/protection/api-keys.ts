/**
 * Who may ask, and for what. Keys are stored as their SHA-256 in hex; what a client sends is hashed and compared with
 * all of them in constant time. Keys have the entropy of random bytes, so that a slow hash would add nothing.
 */
import { EdgeDitError } from '@edge-dit/runtime/errors';
import { sha256Hex } from '@edge-dit/runtime/verify';
import { problemsOf, zodMessages } from '@edge-dit/runtime/zod-messages';
import * as z from 'zod/mini';
import { Problem } from '../problem.ts';

/** `generate`: pictures and jobs. `models`: the list of models. `metrics`: the figures of `GET /metrics`. */
export const SCOPES = ['generate', 'models', 'metrics'] as const;
export type Scope = (typeof SCOPES)[number];

const keySchema = z.strictObject({
  /** In logs, and instead of the key wherever one is named. */
  name: z.string().check(z.regex(/^[\w.-]{1,64}$/)),
  sha256: z.string().check(z.regex(/^[0-9a-f]{64}$/)),
  scopes: z._default(z.array(z.enum(SCOPES)), ['generate', 'models']),
  requestsPerMinute: z.optional(z.int().check(z.minimum(1), z.maximum(1_000_000))),
  /** Requests of this key under way at once. */
  concurrency: z.optional(z.int().check(z.minimum(1), z.maximum(100_000))),
});

export type ApiKey = z.output<typeof keySchema>;

/** Everybody, where no keys are configured. */
export const ANYBODY: ApiKey = { name: 'anybody', sha256: '', scopes: [...SCOPES] };

const keysSchema = z.array(keySchema).check(z.minLength(1), z.maxLength(10_000));

/** @param json of a list of keys. @throws EdgeDitError `invalid-argument` that says what is wrong, without the value */
export function parseApiKeys(json: string): readonly ApiKey[] {
  let given: unknown;
  try {
    given = JSON.parse(json);
  } catch {
    throw unacceptable('is not JSON');
  }
  return checkApiKeys(given);
}

/** @throws EdgeDitError `invalid-argument` */
export function checkApiKeys(given: unknown): readonly ApiKey[] {
  const result = keysSchema.safeParse(given, zodMessages);
  if (!result.success) throw unacceptable(problemsOf(result.error));
  for (const field of ['name', 'sha256'] as const) {
    const values = result.data.map((key) => key[field]);
    if (new Set(values).size < values.length) throw unacceptable(`two keys have the same ${field}`);
  }
  return result.data;
}

const unacceptable = (reason: string) =>
  new EdgeDitError(
    'invalid-argument',
    `API_KEYS: ${reason}; write [{"name": "app", "sha256": "<SHA-256 of the key in hex>"}], at least one.`,
  );

/**
 * The key that `authorization` names.
 * @throws Problem `unauthorized` without one that is known, `forbidden` for one without the scope
 */
export async function authenticate(
  keys: readonly ApiKey[],
  authorization: string | undefined,
  scope: Scope,
): Promise<ApiKey> {
  const [, token] = /^bearer +([\w.~+/=-]{1,512}) *$/i.exec(authorization ?? '') ?? [];
  const reason = authorization === undefined ? 'no key was sent' : 'this key is not known';
  if (token === undefined) throw unauthorized(authorization === undefined ? reason : 'this is not a bearer key');
  const digest = await sha256Hex(new TextEncoder().encode(token));
  let found: ApiKey | undefined;
  // All are looked at, whichever matches.
  for (const key of keys) if (equalInConstantTime(key.sha256, digest)) found = key;
  if (found === undefined) throw unauthorized(reason);
  if (!found.scopes.includes(scope)) {
    throw new Problem('forbidden', `the key "${found.name}" has not the scope "${scope}"; ask whoever gave it to you.`);
  }
  return found;
}

const unauthorized = (reason: string) =>
  new Problem('unauthorized', `${reason}; send authorization: Bearer <key>.`, {
    headers: { 'www-authenticate': 'Bearer realm="edge-dit"' },
  });

/** Of two texts of the same length. */
function equalInConstantTime(a: string, b: string): boolean {
  let difference = a.length ^ b.length;
  for (let i = 0; i < b.length; i++) difference |= a.charCodeAt(i) ^ b.charCodeAt(i);
  return difference === 0;
}
