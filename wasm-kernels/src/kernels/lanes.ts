/** Small pieces of row passes: constants, rounding to integers, folds of the four lanes, loops over bytes. */
import { doWhile, type Local, type NewLocal, when } from '../asm/function.ts';
import { type Expr, f32, f32x4, i8x16, i16x8, i32, i32x4, type Statement, v128 } from '../asm/ops.ts';

/** Ranges not above this count as zero, so that no reciprocal overflows. */
export const LEAST_RANGE = 2 ** -100;

export const splat = (value: number): Expr<'v128'> => f32x4.splat(f32.const(value));
export const integers = (value: number): Expr<'v128'> => i32x4.splat(i32.const(value));

/**
 * 1.5 * 2^23: adding it to a float of magnitude below 2^22 rounds that to the nearest integer, ties to even, and leaves
 * the integer in the low bits of the sum. Two cheap instructions instead of a rounding and a saturating conversion.
 */
export const ROUNDER = 12582912;
const ROUNDER_BITS = 0x4b400000;

/** Integers like `toIntegers` of `x` and a constant, whose `roundingBias` makes both one addition. */
export const roundAndAdd = (x: Expr<'v128'>, bias: Expr<'v128'>): Expr<'v128'> =>
  i32x4.add(f32x4.add(x, splat(ROUNDER)), bias);
export const roundingBias = (constant: Expr<'v128'>): Expr<'v128'> => i32x4.sub(constant, integers(ROUNDER_BITS));

/** The nearest integers of floats below 2^22 in magnitude, as int32. */
export const toIntegers = (x: Expr<'v128'>): Expr<'v128'> =>
  i32x4.sub(f32x4.add(x, splat(ROUNDER)), integers(ROUNDER_BITS));

const LANES = [0, 1, 2, 3] as const;
/** Words of two vectors, those of the second from 4 on. */
export const words = (a: Expr<'v128'>, b: Expr<'v128'>, chosen: readonly number[]): Expr<'v128'> =>
  i8x16.shuffle(
    a,
    b,
    chosen.flatMap((word) => [0, 1, 2, 3].map((byte) => 4 * word + byte)),
  );
type Of = (a: Expr<'v128'>, b: Expr<'v128'>) => Expr<'v128'>;

/** The extremes of several vectors, lane by lane, as a tree: as a chain each would wait for the one before. */
export const foldVectors = (vectors: readonly Expr<'v128'>[], of: Of): Expr<'v128'> =>
  vectors.length === 1
    ? vectors[0]
    : of(foldVectors(vectors.slice(0, vectors.length >> 1), of), foldVectors(vectors.slice(vectors.length >> 1), of));

/** Widens the range from `low` to `high` by the lanes of some vectors. */
export const widenRange = (low: Local<'v128'>, high: Local<'v128'>, seen: readonly Local<'v128'>[]): Statement[] => [
  low.set(f32x4.pmin(low, foldVectors(seen, f32x4.pmin))),
  high.set(f32x4.pmax(high, foldVectors(seen, f32x4.pmax))),
];

type Fold = (a: Expr<'f32'>, b: Expr<'f32'>) => Expr<'f32'>;
const fold = (v: Local<'v128'>, combine: Fold) => LANES.map((lane) => f32x4.extract_lane(v, lane)).reduce(combine);

export const sumLanes = (v: Local<'v128'>) => fold(v, (a, b) => f32.add(a, b));
/** The extreme of lanes that are no NaN, by halves: a scalar minimum has to mind NaN and the sign of zero, which costs branches. */
const extreme = (v: Local<'v128'>, of: Of): Expr<'f32'> => {
  const halves = of(v, words(v, v, [2, 3, 0, 1]));
  const both: Statement = [...v.set(halves), ...v.set(of(v, words(v, v, [1, 0, 3, 2])))];
  return { type: 'f32', code: [...both, ...f32x4.extract_lane(v, 0).code] };
};
export const minLanes = (v: Local<'v128'>) => extreme(v, f32x4.pmin);
export const maxLanes = (v: Local<'v128'>) => extreme(v, f32x4.pmax);
export const sumIntegerLanes = (v: Local<'v128'>) =>
  LANES.map((lane) => i32x4.extract_lane(v, lane)).reduce((a, b) => i32.add(a, b));

/** Runs `body` with `at` = 0, step, ... below `bytes` (not 0). */
export function forBytes(at: Local<'i32'>, bytes: Expr<'i32'>, step: number, body: readonly Statement[]): Statement[] {
  return [at.set(i32.const(0)), doWhile([...body, at.set(i32.add(at, i32.const(step)))], i32.lt_s(at, bytes))];
}

/** Vectors of a block: as many independent chains of operations as keep a processor busy. */
export const BLOCK = [0, 1, 2, 3] as const;
/** What is left where rows are no multiple of a block: one at a time. */
export const ONE = [0] as const;
export type Block = typeof BLOCK | typeof ONE;
const BLOCK_BYTES = 16 * BLOCK.length;

/** Runs `block` with `at` = 0, 64, ... for every whole 64 bytes, then `rest` for every 16 of those that are left. */
export function forBlocks(
  local: NewLocal,
  at: Local<'i32'>,
  bytes: Expr<'i32'>,
  block: readonly Statement[],
  rest: readonly Statement[],
): Statement[] {
  const whole = local('i32');
  const loop = (end: Expr<'i32'>, step: number, body: readonly Statement[]) =>
    when(i32.lt_s(at, end), [doWhile([...body, at.set(i32.add(at, i32.const(step)))], i32.lt_s(at, end))]);
  return [
    whole.set(i32.and(bytes, i32.const(-BLOCK_BYTES))),
    at.set(i32.const(0)),
    loop(whole, BLOCK_BYTES, block),
    loop(bytes, 16, rest),
  ];
}

/** Four vectors of integers as sixteen signed bytes, saturated. */
export const narrow = ([a, b, c, d]: readonly Expr<'v128'>[]): Expr<'v128'> =>
  i8x16.narrow_i16x8_s(i16x8.narrow_i32x4_s(a, b), i16x8.narrow_i32x4_s(c, d));

/** The same as bytes 0..255. */
export const narrowUnsigned = ([a, b, c, d]: readonly Expr<'v128'>[]): Expr<'v128'> =>
  i8x16.narrow_i16x8_u(i16x8.narrow_i32x4_s(a, b), i16x8.narrow_i32x4_s(c, d));

/** Four vectors to narrow: all of a block, or its first and zeros. */
export const padded = (block: readonly Local<'v128'>[], vectors: Block): readonly Expr<'v128'>[] =>
  vectors === BLOCK ? block : [block[0], v128.zero, v128.zero, v128.zero];

/** Sums of four signed bytes each, as int32 [4]. */
export const sumBytes = (v: Expr<'v128'>): Expr<'v128'> =>
  i32x4.extadd_pairwise_i16x8_s(i16x8.extadd_pairwise_i8x16_s(v));
export const sumUnsignedBytes = (v: Expr<'v128'>): Expr<'v128'> =>
  i32x4.extadd_pairwise_i16x8_s(i16x8.extadd_pairwise_i8x16_u(v));
