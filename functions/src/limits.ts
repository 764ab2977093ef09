/** What one request and one endpoint may ask for. Every limit is checked before any work is done for the request. */
import { EdgeDitError } from '@edge-dit/runtime/errors';
import * as z from 'zod/mini';

export interface Limits {
  /** UTF-16 units of a prompt. Text encoders read 24 to 512 tokens; the rest would be cut off. */
  readonly promptChars: number;
  readonly steps: number;
  /** Pixels of width and of height; memory grows with their product. */
  readonly side: number;
  /** Pictures of one request. */
  readonly pictures: number;
  /** A request is two prompts and a few numbers. */
  readonly bodyBytes: number;
  /** Requests that wait while another generates; more are told to come back. */
  readonly waiting: number;
  /** Of them, of one key. */
  readonly waitingPerKey: number;
  /** Jobs of one key that have not ended. Not on Workers, where no job knows of the others: `RATE_LIMITER` limits how many are asked for. */
  readonly jobsPerKey: number;
  /** Milliseconds that a request may take, waiting included. Jobs may take longer. */
  readonly timeoutMs: number;
  /** Milliseconds that the result of a job is kept. */
  readonly keptMs: number;
  /** Milliseconds of computing after which a job is stored and lets others have their turn; a step at least. */
  readonly sliceMs: number;
}

export const DEFAULT_LIMITS: Limits = {
  promptChars: 1000,
  steps: 100,
  side: 1024,
  pictures: 4,
  bodyBytes: 65_536,
  waiting: 32,
  waitingPerKey: 8,
  jobsPerKey: 100,
  timeoutMs: 300_000,
  keptMs: 86_400_000,
  sliceMs: 5000,
};

const limit = (least: number, most: number) => z.optional(z.int().check(z.minimum(least), z.maximum(most)));

const schema = z.strictObject({
  promptChars: limit(1, 4096),
  steps: limit(1, 1000),
  side: limit(1, 4096),
  pictures: limit(1, 64),
  bodyBytes: limit(1024, 2 ** 20),
  waiting: limit(0, 1000),
  waitingPerKey: limit(0, 1000),
  jobsPerKey: limit(1, 100_000),
  timeoutMs: limit(1000, 3_600_000),
  keptMs: limit(1000, 30 * 86_400_000),
  sliceMs: limit(1, 240_000),
});

/** Completes limits with the defaults. @throws EdgeDitError `invalid-argument` naming the limit */
export function limitsOf(given: unknown = {}): Limits {
  const result = schema.safeParse(given);
  if (result.success) return { ...DEFAULT_LIMITS, ...result.data };
  const [issue] = result.error.issues;
  const name = issue.code === 'unrecognized_keys' ? issue.keys[0] : issue.path.join('.');
  throw new EdgeDitError(
    'invalid-argument',
    `limits: ${name || 'all'}: not acceptable; the limits are whole numbers named ${Object.keys(DEFAULT_LIMITS).join(', ')}.`,
  );
}
