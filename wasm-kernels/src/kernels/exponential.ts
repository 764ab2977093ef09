/**
 * exp of four floats, from additions and multiplications only, so that it is the same everywhere: x = n ln 2 + r,
 * exp(x) = 2^n exp(r), exp(r) by its Taylor series to r^7 (relative error below 1e-8 for |r| <= ln 2 / 2).
 * Results within 2 ulp; 0 from about -87.7 down; the argument is held below 88.02, so never infinite.
 */
import type { NewLocal } from '../asm/function.ts';
import { type Expr, f32, f32x4, i32, i32x4, type Statement, v128 } from '../asm/ops.ts';

const constant = (value: number): Expr<'v128'> => f32x4.splat(f32.const(value));
const TAYLOR = [1 / 5040, 1 / 720, 1 / 120, 1 / 24, 1 / 6, 1 / 2, 1, 1];
/** ln 2 in two parts: the first has 9 bits, so its product with n is exact. */
const LN2_HIGH = 0.693359375;
const LN2_LOW = Math.LN2 - LN2_HIGH;
const LIMIT = 88.02;

/** Returns a builder: `exp(x)` gives the statements that leave the result in `result`. */
export function exponential(local: NewLocal) {
  const r = local('v128');
  const n = local('v128');
  const result = local('v128');
  const exp = (x: Expr<'v128'>): Statement[] => [
    r.set(f32x4.max(f32x4.min(x, constant(LIMIT)), constant(-LIMIT))),
    n.set(f32x4.nearest(f32x4.mul(r, constant(Math.LOG2E)))),
    r.set(f32x4.sub(r, f32x4.mul(n, constant(LN2_HIGH)))),
    r.set(f32x4.sub(r, f32x4.mul(n, constant(LN2_LOW)))),
    result.set(constant(TAYLOR[0])),
    ...TAYLOR.slice(1).map((term) => result.set(f32x4.add(f32x4.mul(result, r), constant(term)))),
    n.set(i32x4.shl(i32x4.add(i32x4.trunc_sat_f32x4_s(n), i32x4.splat(i32.const(127))), i32.const(23))),
    result.set(f32x4.mul(result, n)),
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
      result.set(f32x4.div(constant(1), f32x4.add(constant(1), result))),
    ],
  };
}
