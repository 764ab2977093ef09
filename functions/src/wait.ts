/** A pause that a signal ends. */
import { EdgeDitError } from '@edge-dit/runtime/errors';

/** @throws EdgeDitError `aborted` when the signal says so */
export function wait(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(new EdgeDitError('aborted', 'the client left.', { cause: signal.reason }));
    };
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', stop);
      resolve();
    }, ms);
    if (signal.aborted) stop();
    else signal.addEventListener('abort', stop, { once: true });
  });
}
