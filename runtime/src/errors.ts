/**
 * Every error that edge-dit raises on purpose. A message says what failed, on which object, what was got
 * and expected, and what to do about it.
 */
export const ERROR_CODES = {
  // The caller's input.
  'invalid-argument': 'an argument of a call or of the command line is not acceptable',
  'invalid-request': 'a generation request is not acceptable for this model',
  'unknown-name': 'a recipe, sampler, architecture, encoding or target of that name does not exist',
  // Checkpoints.
  'checkpoint-not-found': 'no checkpoint at that place',
  'checkpoint-malformed': 'a checkpoint file is not what its format promises',
  'checkpoint-mismatch': 'tensors are missing, extra or of the wrong shape for the architecture',
  'config-unsupported': 'a configuration asks for something that edge-dit does not implement',
  // The artifact.
  'manifest-invalid': 'a manifest is malformed, inconsistent or beyond a limit',
  'shard-malformed': 'verified bytes are not a shard, or not the one that the manifest describes',
  'digest-mismatch': 'bytes do not have the SHA-256 that names them',
  'manifest-untrusted': 'a manifest is not signed, wrongly signed, expired or older than the configuration accepts',
  'model-not-found': 'the store has no model of that name',
  'object-missing': 'a manifest names an object that the store does not have',
  // Stores and networks.
  'store-failed': 'a store did not answer, or answered with an error',
  'store-denied': 'a store refused the credentials or the permission',
  'precondition-failed': 'the object was changed by somebody else, or exists already',
  'storage-full': 'a browser has no room for what is to be stored',
  aborted: 'the caller cancelled the work',
  // Running.
  'memory-exceeded': 'the work needs more bytes than its budget',
  'engine-unavailable': 'no engine can run here, or one failed its self-test',
  'device-lost': 'the GPU was taken away while an engine used it',
  'onnx-failed': 'an auxiliary ONNX model could not be loaded or run',
  'resume-refused': 'a checkpoint of a generation is damaged, or of another model or request',
  'non-finite': 'a computation gave NaN or infinity',
  internal: 'an invariant of edge-dit is broken; please report it',
} as const;

export type ErrorCode = keyof typeof ERROR_CODES;

export class EdgeDitError extends Error {
  override readonly name = 'EdgeDitError';
  readonly code: ErrorCode;
  /** Milliseconds that whoever failed asks to be left alone. */
  readonly retryAfterMs: number | undefined;

  constructor(code: ErrorCode, message: string, options?: { cause?: unknown; retryAfterMs?: number }) {
    super(message, options);
    this.code = code;
    this.retryAfterMs = options?.retryAfterMs;
  }
}

export function isEdgeDitError(error: unknown, code?: ErrorCode): error is EdgeDitError {
  return error instanceof EdgeDitError && (code === undefined || error.code === code);
}

/** The message for a name that is not in a list: says which are known and, when one is near, suggests it. */
export function unknownName(kind: string, name: string, known: readonly string[]): EdgeDitError {
  const distances = known.map((candidate) => editDistance(candidate.toLowerCase(), name.toLowerCase()));
  const least = Math.min(...distances);
  const near = least <= 2 ? known[distances.indexOf(least)] : undefined;
  const next = near === undefined ? '; known' : `; did you mean "${near}"? Known`;
  return new EdgeDitError('unknown-name', `unknown ${kind} "${name.slice(0, 100)}"${next}: ${known.join(', ')}.`);
}

function editDistance(a: string, b: string): number {
  if (Math.abs(a.length - b.length) > 2 || a.length > 64) return 3;
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next[j] = Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1));
    }
    row = next;
  }
  return row[b.length];
}
