/**
 * Conditions and ranges of a GET on an object of a known size and tag (RFC 9110, sections 13 and 14). In: request headers.
 * Out: which bytes to send with which status. One range only: of several, all bytes are sent, which the standard allows.
 */

export type Selection =
  | { readonly status: 200 | 206; readonly start: number /** After the last byte. */; readonly end: number }
  | { readonly status: 304 | 416 };

/** @param etag with its quotes */
export function select(headers: Headers, etag: string, size: number): Selection {
  const known = headers.get('if-none-match');
  if (known !== null && matchesAny(known, etag)) return { status: 304 };
  const whole = { status: 200, start: 0, end: size } as const;
  const range = headers.get('range');
  const condition = headers.get('if-range');
  // A strong comparison; a date says nothing of content that never changes.
  if (range === null || (condition !== null && condition.trim() !== etag)) return whole;
  const [, first, last] = /^bytes=\s*(\d*)-(\d*)\s*$/i.exec(range) ?? [];
  if (first === undefined || (first === '' && last === '')) return whole;
  if (first === '') {
    const count = Math.min(Number(last), size);
    return count === 0 ? { status: 416 } : { status: 206, start: size - count, end: size };
  }
  const start = Number(first);
  if (last !== '' && Number(last) < start) return whole;
  if (start >= size) return { status: 416 };
  return { status: 206, start, end: last === '' ? size : Math.min(Number(last) + 1, size) };
}

/** `If-None-Match` compares weakly. */
function matchesAny(list: string, etag: string): boolean {
  return list.split(',').some((item) => ['*', etag].includes(item.trim().replace(/^W\//, '')));
}
