/** What stores raise, in one form: store, operation, key, what happened. Messages hold no queries and no credentials. */
import { EdgeDitError, isEdgeDitError } from '../errors.ts';

type Operation = 'get' | 'head' | 'put' | 'list' | 'delete';

const reason = (cause: unknown) => (cause instanceof Error ? cause.message : String(cause)).slice(0, 300);

/** A failure of unknown kind: an abort if the signal says so, else `store-failed`. */
export function storeFailed(
  store: string,
  operation: Operation,
  key: string,
  cause: unknown,
  signal?: AbortSignal,
): EdgeDitError {
  if (isEdgeDitError(cause)) return cause;
  if (signal?.aborted) return aborted(`${store}: ${operation} ${key}`);
  return new EdgeDitError('store-failed', `${store}: ${operation} ${key} failed: ${reason(cause)}`, { cause });
}

export function storeDenied(store: string, operation: Operation, key: string, cause: unknown): EdgeDitError {
  return new EdgeDitError(
    'store-denied',
    `${store}: ${operation} ${key} was refused: ${reason(cause)}; check the credentials and what they permit.`,
    { cause },
  );
}

export function preconditionFailed(store: string, key: string, options: { ifMatch?: string }): EdgeDitError {
  const message =
    options.ifMatch === undefined
      ? 'exists already'
      : `was changed by somebody else (its etag is no longer ${options.ifMatch})`;
  return new EdgeDitError('precondition-failed', `${store}: ${key} ${message}; read it again and decide.`);
}

export function aborted(what: string): EdgeDitError {
  return new EdgeDitError('aborted', `${what}: cancelled by the caller`);
}

/** Raises `aborted`, or the error of ours that the signal was aborted with: a deadline says so itself. */
export function throwIfAborted(signal: AbortSignal | undefined, what: string): void {
  if (signal?.aborted) throw isEdgeDitError(signal.reason) ? signal.reason : aborted(what);
}
