/**
 * How a model likes to be asked, for whoever shows it to people: example subjects, and styles that follow a subject after a comma.
 * In a manifest it is the key `x-prompting` (FORMAT.md); nothing that computes looks at it.
 */
import * as z from 'zod/mini';

const MAX_ITEMS = 32;
const MAX_LENGTH = 100;

const texts = z.optional(
  z.array(z.string().check(z.minLength(1), z.maxLength(MAX_LENGTH))).check(z.maxLength(MAX_ITEMS)),
);
const schema = z.strictObject({ styles: texts, examples: texts });

export interface Prompting {
  /** "red apple" and "noto style" are asked as "red apple, noto style". */
  readonly styles?: readonly string[];
  readonly examples?: readonly string[];
}

export const PROMPTING = 'x-prompting';

/** Undefined for what is not of that form: up to 32 texts of up to 100 characters in each list. */
export function promptingOf(value: unknown): Prompting | undefined {
  const result = schema.safeParse(value);
  return result.success ? result.data : undefined;
}
