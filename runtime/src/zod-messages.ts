/**
 * Says what a schema refused: zod's small build has no messages of its own, and its English ones are a kilobyte of a
 * worker. For `safeParse(value, zodMessages)`.
 */
import type { z } from 'zod/mini';

type Issue = z.core.$ZodRawIssue;

export const zodMessages = {
  error: (issue: Issue): string => MESSAGES[issue.code as string]?.(issue) ?? 'Invalid input',
};

/** All that a schema refused, in one line. */
export const problemsOf = ({ issues }: z.core.$ZodError): string =>
  issues.map(({ path, message }) => `${path.join('.') || '(top)'}: ${message}`).join('; ');

const list = (values: unknown) => (values as unknown[]).map((value) => JSON.stringify(value)).join(' or ');
const typeOf = (value: unknown) => (value === null ? 'null' : Array.isArray(value) ? 'array' : typeof value);

const MESSAGES: Readonly<Record<string, ((issue: Issue) => string) | undefined>> = {
  invalid_type: ({ expected, input }) => `expected ${expected}, received ${typeOf(input)}`,
  invalid_value: ({ values }) => `expected ${list(values)}`,
  too_small: ({ minimum, inclusive }) => `too small: expected ${inclusive ? 'at least' : 'more than'} ${minimum}`,
  too_big: ({ maximum, inclusive }) => `too big: expected ${inclusive ? 'at most' : 'less than'} ${maximum}`,
  not_multiple_of: ({ divisor }) => `expected a multiple of ${divisor}`,
  unrecognized_keys: ({ keys }) => `unknown: ${list(keys)}`,
};
