/**
 * Codes with steps of their own for groups of inputs: what the stored codes stand for, in plain loops, and the check
 * without which an expanded code may not be one.
 */
import type { CodeBits, CodeGroups } from '../engines/engine.ts';
import { EdgeDitError } from '../errors.ts';
import { PANEL_COLUMNS, PANEL_DEPTH } from './encodings.ts';

/** Bytes of the record of a group: a multiplier, then a base, for each column of a panel. */
export const GROUP_RECORD_BYTES = 2 * PANEL_COLUMNS;
/** Of expanded codes: what the relaxed dot takes alike on every host. */
const LARGEST = 127;

/** The expanded codes [N, K], row-major, of the stored codes [N, K] with `depth` = K. */
export function expandCodes(codes: Uint8Array, depth: number, { size, records }: CodeGroups): Uint8Array {
  return codes.map((code, i) => {
    const [n, k] = [Math.floor(i / depth), i % depth];
    const panel = Math.floor(n / PANEL_COLUMNS) * (depth / size);
    const record = (panel + Math.floor(k / size)) * GROUP_RECORD_BYTES + (n % PANEL_COLUMNS);
    return records[record] * code + records[record + PANEL_COLUMNS];
  });
}

/**
 * The groups of a weight [N, K] of codes of so many bits, from the bytes of tensor `name`.
 * @throws `checkpoint-mismatch` where groups are no multiple of 4 inputs, and where a code could expand beyond 127
 */
export function groupsOf(name: string, bits: CodeBits, records: Uint8Array, rows: number, depth: number): CodeGroups {
  const size = (depth * Math.ceil(rows / PANEL_COLUMNS) * GROUP_RECORD_BYTES) / records.length;
  const top = (1 << bits) - 1;
  const wrong = records.findIndex(
    (multiplier, at) => (at & PANEL_COLUMNS) === 0 && multiplier * top + records[at + PANEL_COLUMNS] > LARGEST,
  );
  if (size % PANEL_DEPTH !== 0) throw broken(name, `groups of ${size} inputs, not of a multiple of ${PANEL_DEPTH}`);
  if (wrong >= 0) throw broken(name, `a multiplier and a base that go beyond ${LARGEST}, at byte ${wrong}`);
  return { size, records };
}

const broken = (name: string, what: string) =>
  new EdgeDitError('checkpoint-mismatch', `tensor ${name} has ${what}; quantize the model again.`);
