/** A pause within a request, which its client may end by leaving. */
import { EdgeDitError } from '@edge-dit/runtime/errors';
import { pause } from './pause.ts';

/** @throws EdgeDitError `aborted` when the signal says so */
export async function wait(ms: number, signal: AbortSignal): Promise<void> {
  try {
    await pause(ms, signal);
  } catch (cause) {
    throw new EdgeDitError('aborted', 'the client left.', { cause });
  }
}
