/**
 * A time limit for work of many requests: a signal that aborts with an error of its own, which everything that takes a
 * signal raises as it is. Single objects have their own limits already (`deadlineMs` of `FetchOptions`).
 */

import { eitherSignal } from './either-signal.ts';
import { EdgeDitError } from './errors.ts';

/**
 * @param what in messages, for example `loading emoji`
 * @param signal aborts it too
 * @returns a signal whose reason, after `ms` milliseconds, is a `store-failed`
 */
export function deadline(ms: number, what: string, signal?: AbortSignal): AbortSignal {
  const late = new AbortController();
  const error = new EdgeDitError('store-failed', `${what}: not done after ${ms} ms; the store is too slow for it.`);
  const timer = setTimeout(() => late.abort(error), ms);
  // Node need not stay for it.
  (timer as { unref?: () => void }).unref?.();
  return eitherSignal(signal, late.signal);
}
