/** For tests of the runtime that run in a page: what they use of `node:assert/strict`. */
type Expected = object | ((error: unknown) => unknown);

function fail(message: unknown): never {
  throw new Error(String(message));
}

function same(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  if (Object.getPrototypeOf(a) !== Object.getPrototypeOf(b)) return false;
  const keys = Object.keys(a);
  if (keys.length !== Object.keys(b).length) return false;
  return keys.every((key) => same(a[key as keyof typeof a], b[key as keyof typeof b]));
}

function matches(error: unknown, expected: Expected | undefined): void {
  if (typeof expected === 'function') {
    if (!expected(error)) fail(`not the error that was expected: ${error}`);
    return;
  }
  for (const [key, value] of Object.entries(expected ?? {})) {
    const got = (error as Record<string, unknown>)[key];
    const holds = value instanceof RegExp ? value.test(String(got)) : same(got, value);
    if (!holds) fail(`${key} is ${got}, expected ${value}`);
  }
}

const ok = (value: unknown, message: unknown = 'not true') => void (value || fail(message));
const equal = (got: unknown, wanted: unknown) => ok(Object.is(got, wanted), `${got}, expected ${wanted}`);
const deepEqual = (got: unknown, wanted: unknown) => ok(same(got, wanted), 'values differ');

function throws(run: () => unknown, expected?: Expected): void {
  try {
    run();
  } catch (error) {
    matches(error, expected);
    return;
  }
  fail('nothing was thrown');
}

async function rejects(given: Promise<unknown> | (() => Promise<unknown>), expected?: Expected): Promise<void> {
  try {
    await (typeof given === 'function' ? given() : given);
  } catch (error) {
    matches(error, expected);
    return;
  }
  fail('nothing was rejected');
}

export default { ok, equal, deepEqual, throws, rejects, fail };
