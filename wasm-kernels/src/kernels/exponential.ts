/**
 * exp of four floats, from additions and multiplications only, so that it is the same everywhere: x = n ln 2 + r,
 * exp(x) = 2^n exp(r), exp(r) by its Taylor series to r^6 (relative error at most 1.2e-7 for |r| <= ln 2 / 2).
 * Results within 3 ulp; 0 from about -87.7 down; the argument is held below 88.02, so never infinite.
 */
import type { NewLocal } from '../asm/function.ts';
import { type Expr, f32x4, i32, i32x4, type Statement, v128 } from '../asm/ops.ts';
import { integers, ROUNDER, splat } from './lanes.ts';

const TAYLOR = [1 / 720, 1 / 120, 1 / 24, 1 / 6, 1 / 2, 1, 1];
/** ln 2 in two parts: the first has 9 bits, so its product with n is exact. */
const LN2_HIGH = 0.693359375;
const LN2_LOW = Math.LN2 - LN2_HIGH;
const LIMIT = 88.02;

/** Returns a builder: `exp(x)` gives the statements that leave the result in `result`. */
export function exponential(local: NewLocal) {
  const r = local('v128');
  const n = local('v128');
  const biased = local('v128');
  const result = local('v128');
  const exp = (x: Expr<'v128'>): Statement[] => [
    r.set(f32x4.pmax(splat(-LIMIT), f32x4.pmin(splat(LIMIT), x))),
    // n stays in the low bits of the sum; the rest of the word is shifted out when it becomes an exponent.
    biased.set(f32x4.add(f32x4.mul(r, splat(Math.LOG2E)), splat(ROUNDER))),
    n.set(f32x4.sub(biased, splat(ROUNDER))),
    r.set(f32x4.sub(r, f32x4.mul(n, splat(LN2_HIGH)))),
    r.set(f32x4.sub(r, f32x4.mul(n, splat(LN2_LOW)))),
    result.set(splat(TAYLOR[0])),
    ...TAYLOR.slice(1).map((term) => result.set(f32x4.add(f32x4.mul(result, r), splat(term)))),
    result.set(f32x4.mul(result, i32x4.shl(i32x4.add(biased, integers(127)), i32.const(23)))),
  ];
  return { exp, result };
}

/** 1 / (1 + exp(-x)), as builder statements that leave it in `result`. */
export function sigmoid(local: NewLocal) {
  const { exp, result } = exponential(local);
  return {
    result,
    sigmoid: (x: Expr<'v128'>): Statement[] => [
      ...exp(f32x4.sub(v128.zero, x)),
      result.set(f32x4.div(splat(1), f32x4.add(splat(1), result))),
    ],
  };
}
