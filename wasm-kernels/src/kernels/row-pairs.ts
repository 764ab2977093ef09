/**
 * Rows as the integer product reads them. Engines that have no guard behind a memory, workerd among them, check every
 * load, by a branch and often two more instructions, which is more than the load itself: so loads serve several rows.
 *
 * Activations lie in pairs of rows, and of a pair the four bytes of each row by turns. Four bytes are a step of the product,
 * what a lane of its dot takes: four int8, or two int16. A register of a pair holds [first, second, first, second];
 * swapped, it meets the same weights again. So of the two sums of a pair each has every other lane of either row, until
 * `sortPair` puts them right.
 *
 * Of the records of rows, each field lies by itself.
 */
import { count, type Local, type NewLocal, repeat } from '../asm/function.ts';
import { type Expr, i32, type Statement, v128 } from '../asm/ops.ts';
import { words } from './lanes.ts';

/** Of a step of a pair. */
export const PAIR_BYTES = 8;
/** Beyond the pairs: what the last of them may be written past its end. */
export const PAIR_SLACK = 3 * PAIR_BYTES;
/** Of a record: scale, sum of codes less zero, zero. The fourth is the gate. */
export const FIELDS = 3;

/** Of two rows of four: the first lanes of both by turns, and the last. */
const zipped = (a: Expr<'v128'>, b: Expr<'v128'>) => [words(a, b, [0, 4, 1, 5]), words(a, b, [2, 6, 3, 7])] as const;

export const swapped = (pair: Expr<'v128'>): Expr<'v128'> => words(pair, pair, [1, 0, 3, 2]);
export const everyLane = (x: Expr<'v128'>, lane: number): Expr<'v128'> => words(x, x, [lane, lane, lane, lane]);

/** The sums of a pair, and of the pair swapped, become those of its rows. */
export function sortPair(first: Local<'v128'>, second: Local<'v128'>, spare: Local<'v128'>): Statement[] {
  const everyOther = [0, 5, 2, 7];
  return [spare.set(words(first, second, everyOther)), second.set(words(second, first, everyOther)), first.set(spare)];
}

export interface Pairing {
  /** int8 become int16, and rows twice as long. */
  readonly wide: boolean;
  /** An odd row is paired with the one behind it. */
  readonly rows: Expr<'i32'>;
  /** Of int8, a multiple of 4. */
  readonly rowBytes: Expr<'i32'>;
  /** Up to 16 bytes beyond the last pair are read, too. */
  readonly from: Expr<'i32'>;
  readonly to: Expr<'i32'>;
}

export function packPairs(local: NewLocal, { wide, rows, rowBytes, from, to }: Pairing): Statement {
  const [i, left, target] = Array.from({ length: 3 }, () => local('i32'));
  const pointers = [local('i32'), local('i32')] as const;
  const [first, second] = [local('v128'), local('v128')];
  // A register of four steps of a row.
  const [load, taken] = wide ? [v128.load8x8_s, 8] : [v128.load, 16];
  const lengthened = wide ? i32.shl(rowBytes, i32.const(1)) : rowBytes;
  return count(i, rows, 2, [
    pointers[0].set(i32.add(from, i32.mul(i, rowBytes))),
    pointers[1].set(i32.add(pointers[0], rowBytes)),
    target.set(i32.add(to, i32.mul(i, lengthened))),
    left.set(i32.div_u(i32.add(rowBytes, i32.const(taken - 1)), i32.const(taken))),
    repeat(left, [
      first.set(load(pointers[0])),
      second.set(load(pointers[1])),
      ...zipped(first, second).map((steps, half) => v128.store(target, steps, 16 * half)),
      ...pointers.map((pointer) => pointer.set(i32.add(pointer, i32.const(taken)))),
      target.set(i32.add(target, i32.const(32))),
    ]),
  ]);
}

export interface Records {
  readonly rows: Expr<'i32'>;
  /** Records are read in multiples of four. */
  readonly from: Expr<'i32'>;
  /** Room for `FIELDS` fields, `stride` bytes apart: four bytes a row, in multiples of four rows. */
  readonly to: Expr<'i32'>;
  readonly stride: Expr<'i32'>;
  /** Becomes 0 where no row has a gate. */
  readonly gated: Local<'i32'>;
}

export function packFields(local: NewLocal, { rows, from, to, stride, gated }: Records): Statement[] {
  const [i, record, target] = Array.from({ length: 3 }, () => local('i32'));
  const records = Array.from({ length: 4 }, () => local('v128'));
  const gates = local('v128');
  const [a, b, c, d] = records;
  const spare = local('v128');
  const joined = (x: Expr<'v128'>, y: Expr<'v128'>) => [words(x, y, [0, 1, 4, 5]), words(x, y, [2, 3, 6, 7])] as const;
  const zip = (x: Local<'v128'>, y: Local<'v128'>): Statement[] => {
    const [front, back] = zipped(x, y);
    return [spare.set(front), y.set(back), x.set(spare)];
  };
  const [scale, sum] = joined(a, c);
  const [zero, gate] = joined(b, d);
  return [
    gates.set(v128.zero),
    record.set(from),
    count(i, rows, 4, [
      ...records.map((register, r) => register.set(v128.load(record, 16 * r))),
      ...zip(a, b),
      ...zip(c, d),
      target.set(i32.add(to, i32.shl(i, i32.const(2)))),
      ...[scale, sum, zero].flatMap((field) => [v128.store(target, field), target.set(i32.add(target, stride))]),
      gates.set(v128.or(gates, gate)),
      record.set(i32.add(record, i32.const(64))),
    ]),
    gated.set(v128.any_true(gates)),
  ];
}
