/** What a model or the runtime refused, as the problem of a request: with the field that it is about. */
import { isEdgeDitError } from '@edge-dit/runtime/errors';
import { refusedByModel } from './generate-request.ts';
import { Problem } from './problem.ts';

/** All else stays as it is. */
export function problemOf(error: unknown): unknown {
  if (isEdgeDitError(error, 'invalid-request') || isEdgeDitError(error, 'invalid-argument')) {
    return refusedByModel(error.message);
  }
  if (isEdgeDitError(error, 'model-not-found')) {
    return new Problem(error.code, error.message, { errors: [{ pointer: '#/model', detail: error.message }] });
  }
  return error;
}
