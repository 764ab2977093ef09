/** Prompts or classes in, one request for each picture of an evaluation out. */
import { EdgeDitError } from '@edge-dit/runtime/errors';
import type { GenerateRequest } from '@edge-dit/runtime/pipeline';

export interface EvaluationRequests {
  readonly list: readonly GenerateRequest[];
  /** The prompt or class of each request. */
  readonly conditions: readonly (string | number)[];
  readonly steps: number;
  readonly guidance: number;
}

export interface RequestSettings {
  /** Prompts, or numbers of classes; not none. */
  readonly conditions: readonly (string | number)[];
  /** Pictures; beyond the conditions, these come again with further seeds. Default: one for each condition. */
  readonly count?: number;
  /** Of the first picture; the next have those that follow. Default 1. */
  readonly seed?: number;
  readonly steps: number;
  readonly guidance: number;
}

/** @throws EdgeDitError `invalid-argument` for seeds that lead beyond the largest */
export function evaluationRequests(settings: RequestSettings): EvaluationRequests {
  const { conditions, count = conditions.length, seed = 1, steps, guidance } = settings;
  if (seed > Number.MAX_SAFE_INTEGER - (count - 1)) {
    throw new EdgeDitError(
      'invalid-argument',
      `seed ${seed} and ${count} pictures lead beyond the largest seed, ${Number.MAX_SAFE_INTEGER}.`,
    );
  }
  const taken = Array.from({ length: count }, (_, i) => conditions[i % conditions.length]);
  const list = taken.map((condition, i): GenerateRequest => {
    const asked = typeof condition === 'string' ? { prompt: condition } : { class: condition };
    return { ...asked, seed: seed + i, steps, guidance };
  });
  return { list, conditions: taken, steps, guidance };
}
