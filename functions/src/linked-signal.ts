/** A signal that follows another and a clock. In: the client's signal and milliseconds. Out: one signal, and how to let go. */
import { Problem } from './problem.ts';

export interface LinkedSignal {
  readonly signal: AbortSignal;
  abort(reason: unknown): void;
  /** Stops the clock and listens no more. */
  release(): void;
}

/** Aborts with a `timed-out` problem as its reason when the time is over. */
export function linkedSignal(other: AbortSignal | undefined, timeoutMs: number): LinkedSignal {
  const controller = new AbortController();
  const follow = () => controller.abort(other?.reason);
  const expire = () =>
    controller.abort(
      new Problem('timed-out', `not done after ${timeoutMs / 1000} s; ask for fewer steps, or for a job.`),
    );
  const timer = setTimeout(expire, timeoutMs);
  if (other?.aborted) follow();
  else other?.addEventListener('abort', follow, { once: true });
  return {
    signal: controller.signal,
    abort: (reason) => controller.abort(reason),
    release() {
      clearTimeout(timer);
      other?.removeEventListener('abort', follow);
    },
  };
}

/** Why the work was stopped, where that is a problem to tell; else the error itself. */
export function reasonOf(error: unknown, signal: AbortSignal): unknown {
  return signal.aborted && signal.reason instanceof Problem ? signal.reason : error;
}
