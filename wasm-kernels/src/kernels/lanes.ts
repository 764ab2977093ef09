/** Small pieces of row passes: constants, rounding to integers, folds of the four lanes, loops over bytes. */
import { doWhile, type Local } from '../asm/function.ts';
import { type Expr, f32, f32x4, i32, i32x4, type Statement } from '../asm/ops.ts';

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

/** The nearest integers of floats below 2^22 in magnitude, as int32. */
export const toIntegers = (x: Expr<'v128'>): Expr<'v128'> =>
  i32x4.sub(f32x4.add(x, splat(ROUNDER)), integers(ROUNDER_BITS));

const LANES = [0, 1, 2, 3] as const;
type Fold = (a: Expr<'f32'>, b: Expr<'f32'>) => Expr<'f32'>;
const fold = (v: Local<'v128'>, combine: Fold) => LANES.map((lane) => f32x4.extract_lane(v, lane)).reduce(combine);

export const sumLanes = (v: Local<'v128'>) => fold(v, (a, b) => f32.add(a, b));
export const minLanes = (v: Local<'v128'>) => fold(v, (a, b) => f32.min(a, b));
export const maxLanes = (v: Local<'v128'>) => fold(v, (a, b) => f32.max(a, b));
export const sumIntegerLanes = (v: Local<'v128'>) =>
  LANES.map((lane) => i32x4.extract_lane(v, lane)).reduce((a, b) => i32.add(a, b));

/** Runs `body` with `at` = 0, step, ... below `bytes` (not 0). */
export function forBytes(at: Local<'i32'>, bytes: Expr<'i32'>, step: number, body: readonly Statement[]): Statement[] {
  return [at.set(i32.const(0)), doWhile([...body, at.set(i32.add(at, i32.const(step)))], i32.lt_s(at, bytes))];
}
