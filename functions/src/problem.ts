/**
 * Errors as HTTP says them: problem details (RFC 9457). In: whatever was thrown. Out: one JSON form, with a status from
 * one table. Details of errors that nobody raised on purpose stay in the log.
 */
import { type ErrorCode, isEdgeDitError } from '@edge-dit/runtime/errors';

/** Problems of the endpoint itself; all others are error codes of the runtime. */
type HttpCode =
  | 'malformed-request'
  | 'route-not-found'
  | 'method-not-allowed'
  | 'not-acceptable'
  | 'content-too-large'
  | 'unsupported-media-type'
  | 'malformed-header'
  | 'unauthorized'
  | 'forbidden'
  | 'too-many-requests'
  | 'busy'
  | 'timed-out'
  | 'jobs-unavailable'
  | 'job-not-found'
  | 'job-not-finished'
  | 'job-canceled'
  | 'idempotency-key-reused';

export type ProblemCode = HttpCode | ErrorCode;

/** Bad Gateway: the store behind the endpoint, or what lies in it, is at fault. */
const STORE_AT_FAULT = 502;
/** What nginx answers to clients that left; the client does not see it, logs do. */
const CLIENT_LEFT = 499;

export const PROBLEMS: Readonly<Record<ProblemCode, { readonly status: number; readonly title: string }>> = {
  'malformed-request': { status: 400, title: 'The body is not JSON' },
  'route-not-found': { status: 404, title: 'No such path' },
  'method-not-allowed': { status: 405, title: 'The path does not take this method' },
  'not-acceptable': { status: 406, title: 'No representation that the client accepts' },
  'content-too-large': { status: 413, title: 'The body is too large' },
  'unsupported-media-type': { status: 415, title: 'The body is of a type that is not read here' },
  'malformed-header': { status: 400, title: 'A header is not what it has to be' },
  unauthorized: { status: 401, title: 'A key is needed' },
  forbidden: { status: 403, title: 'The key does not allow it' },
  'too-many-requests': { status: 429, title: 'Too many requests of one key' },
  busy: { status: 503, title: 'Too many requests are waiting' },
  'timed-out': { status: 504, title: 'The request took too long' },
  'jobs-unavailable': { status: 501, title: 'This endpoint keeps no jobs' },
  'job-not-found': { status: 404, title: 'No such job' },
  'job-not-finished': { status: 409, title: 'The job has not ended yet' },
  'job-canceled': { status: 410, title: 'The job was canceled' },
  'idempotency-key-reused': { status: 422, title: 'The key was used for another request' },

  'invalid-request': { status: 422, title: 'The request is not acceptable' },
  'invalid-argument': { status: 422, title: 'A value is not acceptable' },
  'model-not-found': { status: 404, title: 'No such model' },
  aborted: { status: CLIENT_LEFT, title: 'The client cancelled the request' },

  'manifest-invalid': { status: STORE_AT_FAULT, title: 'The manifest of the model is not valid' },
  'manifest-untrusted': { status: STORE_AT_FAULT, title: 'The manifest of the model is not trusted' },
  'shard-malformed': { status: STORE_AT_FAULT, title: 'A shard of the model is not valid' },
  'digest-mismatch': { status: STORE_AT_FAULT, title: 'An object of the model is damaged' },
  'object-missing': { status: STORE_AT_FAULT, title: 'An object of the model is missing' },
  'store-failed': { status: STORE_AT_FAULT, title: 'The store did not answer' },
  'store-denied': { status: STORE_AT_FAULT, title: 'The store refused access' },

  'memory-exceeded': { status: 507, title: 'The work does not fit in memory' },
  'device-lost': { status: 500, title: 'The GPU was lost' },
  'storage-full': { status: 500, title: 'Internal error' },
  'engine-unavailable': { status: 500, title: 'No engine runs here' },
  'onnx-failed': { status: 500, title: 'An auxiliary model failed' },
  'resume-refused': { status: 500, title: 'A saved state is not of this request' },
  'non-finite': { status: 500, title: 'The computation broke down' },
  'config-unsupported': { status: 500, title: 'The model asks for something that is not implemented' },
  'unknown-name': { status: 500, title: 'The model names something unknown here' },
  internal: { status: 500, title: 'Internal error' },

  // Of tools that publish models. An endpoint has no reason to raise them.
  'checkpoint-not-found': { status: 500, title: 'Internal error' },
  'checkpoint-malformed': { status: 500, title: 'Internal error' },
  'checkpoint-mismatch': { status: 500, title: 'Internal error' },
  'precondition-failed': { status: 500, title: 'Internal error' },
};

/** One fault of a request: where (a JSON pointer into the body), and what to write instead. */
export interface FieldError {
  readonly pointer: string;
  readonly detail: string;
}

export interface ProblemDetails {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  readonly errors?: readonly FieldError[];
}

/** A problem that the endpoint raises itself. */
export class Problem extends Error {
  override readonly name = 'Problem';
  readonly code: ProblemCode;
  readonly errors: readonly FieldError[] | undefined;
  readonly headers: Readonly<Record<string, string>>;

  constructor(
    code: ProblemCode,
    detail: string,
    extra: { errors?: readonly FieldError[]; headers?: Readonly<Record<string, string>> } = {},
  ) {
    super(detail);
    this.code = code;
    this.errors = extra.errors;
    this.headers = extra.headers ?? {};
  }
}

export const problemType = (code: ProblemCode) => `urn:edge-dit:problem:${code}`;

/** @param redact takes out of a message what clients need not know, such as where the store is */
export function problemDetails(error: unknown, redact: (message: string) => string = (text) => text): ProblemDetails {
  const known = error instanceof Problem || isEdgeDitError(error);
  const code = known ? error.code : 'internal';
  const detail = known ? redact(error.message) : 'The request failed for a reason that is in the log.';
  const errors = error instanceof Problem ? error.errors : undefined;
  const { status, title } = PROBLEMS[code];
  return { type: problemType(code), title, status, detail, ...(errors && { errors }) };
}

export function problemResponse(details: ProblemDetails, headers: Readonly<Record<string, string>> = {}): Response {
  return new Response(JSON.stringify(details), {
    status: details.status,
    headers: { ...headers, 'content-type': 'application/problem+json', 'cache-control': 'no-store' },
  });
}
