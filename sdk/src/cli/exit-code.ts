/** What the command line tells the shell. */
import { type ErrorCode, isEdgeDitError } from '@edge-dit/runtime/errors';

export const EXIT = {
  ok: 0,
  checkFailed: 1,
  usage: 2,
  failed: 3,
  /** 128 + SIGINT, as shells have it. */
  cancelled: 130,
} as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

export const EXIT_CODE_HELP = `Exit codes:
  0    all is well
  1    the check failed: parity above the tolerance, damage that verify found, a bundle above its ceiling
  2    bad usage: an unknown command or option, or an argument that is not acceptable
  3    the model, checkpoint, store or engine failed
  130  cancelled (Ctrl-C)`;

/** Codes that speak of what the user wrote; names of a checkpoint's config may be unknown too, and are not usage. */
const USAGE: readonly ErrorCode[] = ['invalid-argument', 'invalid-request'];

export function exitCodeOf(error: unknown): ExitCode {
  if (!isEdgeDitError(error)) return EXIT.failed;
  if (error.code === 'aborted') return EXIT.cancelled;
  return USAGE.includes(error.code) ? EXIT.usage : EXIT.failed;
}
