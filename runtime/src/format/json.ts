/**
 * JSON of hostile origin in, plain values out: depth and number of values are bounded before anything is parsed.
 * And the way back: canonical text, so that equal values give equal bytes.
 */
import { EdgeDitError } from '../errors.ts';
import { MAX_JSON_DEPTH, MAX_JSON_VALUES } from './limits.ts';

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;

const invalid = (what: string, message: string, cause?: unknown) =>
  new EdgeDitError('manifest-invalid', `${what}: ${message}`, { cause });

/**
 * The value of UTF-8 JSON of at most `maxBytes`. Refused with `manifest-invalid`: other encodings, nesting beyond
 * 32, more than 2^20 values, numbers beyond double range, and keys named `__proto__`.
 */
export function parseBoundedJson(bytes: Uint8Array, maxBytes: number, what: string): unknown {
  if (bytes.length > maxBytes) throw invalid(what, `${bytes.length} bytes, at most ${maxBytes} are accepted`);
  scan(bytes, what);
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes));
  } catch (cause) {
    throw invalid(what, `not JSON in UTF-8 (${cause instanceof Error ? cause.message.slice(0, 200) : cause})`, cause);
  }
  refuseTraps(value, what, []);
  return value;
}

/** Counts values and depth by the structural bytes outside of strings, before the parser allocates for them. */
function scan(bytes: Uint8Array, what: string): void {
  let depth = 0;
  let values = 1;
  let inString = false;
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i];
    if (inString) {
      if (byte === BACKSLASH) i++;
      else if (byte === QUOTE) inString = false;
    } else if (byte === QUOTE) inString = true;
    else if (byte === COMMA) values++;
    else if (byte === OPEN_BRACKET || byte === OPEN_BRACE) {
      depth++;
      values++;
      if (depth > MAX_JSON_DEPTH) throw invalid(what, `nested more than ${MAX_JSON_DEPTH} deep`);
    } else if (byte === CLOSE_BRACKET || byte === CLOSE_BRACE) depth--;
    if (values > MAX_JSON_VALUES) throw invalid(what, `more than ${MAX_JSON_VALUES} values`);
  }
}

function refuseTraps(value: unknown, what: string, path: (string | number)[]): void {
  if (typeof value === 'number' && !Number.isFinite(value)) {
    throw invalid(what, `${formatPath(path)}: a number beyond the range of doubles`);
  }
  if (value === null || typeof value !== 'object') return;
  const visit = (key: string | number, item: unknown) => {
    path.push(key);
    refuseTraps(item, what, path);
    path.pop();
  };
  if (Array.isArray(value)) for (let i = 0; i < value.length; i++) visit(i, value[i]);
  else {
    for (const key of Object.keys(value)) {
      if (key === '__proto__') throw invalid(what, `${formatPath(path)}: the key "__proto__" is not accepted`);
      visit(key, (value as Record<string, unknown>)[key]);
    }
  }
}

/** `tensors[3].shape[0]`; the whole value is `(top)`. */
export function formatPath(path: readonly PropertyKey[]): string {
  let text = '';
  for (const part of path) {
    if (typeof part === 'number') text += `[${part}]`;
    else text += `${text === '' ? '' : '.'}${String(part).slice(0, 100)}`;
  }
  return text === '' ? '(top)' : text;
}

/**
 * Canonical text: no whitespace, keys of every object sorted by UTF-16 code units, numbers and strings as
 * `JSON.stringify` writes them, keys with the value `undefined` left out.
 */
export function canonicalJson(value: unknown): string {
  if (typeof value === 'number' && !Number.isFinite(value)) {
    throw new EdgeDitError('invalid-argument', `${value} cannot be written as JSON; give a finite number.`);
  }
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`;
  if (value !== null && typeof value === 'object') {
    const record = value as Record<string, unknown>;
    const keys = Object.keys(record).filter((key) => record[key] !== undefined);
    return `{${keys
      .sort()
      .map((key) => `${JSON.stringify(key)}:${canonicalJson(record[key])}`)
      .join(',')}}`;
  }
  const text = JSON.stringify(value);
  if (text === undefined) {
    throw new EdgeDitError('invalid-argument', `a ${typeof value} cannot be written as JSON; give plain data.`);
  }
  return text;
}
