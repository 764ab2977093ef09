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

/**
 * Builders of statements: `exp(x)` leaves the results of as many vectors as it is given, at most `width`, in `results`. A
 * vector is one chain of thirty operations that wait for one another, so those of several are interleaved.
 */
export function exponential(local: NewLocal, width = 1) {
  const vectors = () => Array.from({ length: width }, () => local('v128'));
  const [r, n, biased, results] = [vectors(), vectors(), vectors(), vectors()];
  const held = (value: number) => local.constant(splat(value));
  const exp = (x: readonly Expr<'v128'>[]): Statement[] => {
    const each = (step: (i: number) => Statement): Statement[] => x.map((_, i) => step(i));
    return [
      ...each((i) => r[i].set(f32x4.pmax(held(-LIMIT), f32x4.pmin(held(LIMIT), x[i])))),
      // n stays in the low bits of the sum; the rest of the word is shifted out when it becomes an exponent.
      ...each((i) => biased[i].set(f32x4.add(f32x4.mul(r[i], held(Math.LOG2E)), held(ROUNDER)))),
      ...each((i) => n[i].set(f32x4.sub(biased[i], held(ROUNDER)))),
      ...each((i) => r[i].set(f32x4.sub(r[i], f32x4.mul(n[i], held(LN2_HIGH))))),
      ...each((i) => r[i].set(f32x4.sub(r[i], f32x4.mul(n[i], held(LN2_LOW))))),
      ...each((i) => results[i].set(held(TAYLOR[0]))),
      ...TAYLOR.slice(1).flatMap((term) =>
        each((i) => results[i].set(f32x4.add(f32x4.mul(results[i], r[i]), held(term)))),
      ),
      ...each((i) =>
        results[i].set(
          f32x4.mul(results[i], i32x4.shl(i32x4.add(biased[i], local.constant(integers(127))), i32.const(23))),
        ),
      ),
    ];
  };
  return { exp, results };
}

/** 1 / (1 + exp(-x)), as builders of statements like those of `exponential`. */
export function sigmoid(local: NewLocal, width = 1) {
  const { exp, results } = exponential(local, width);
  const one = local.constant(splat(1));
  return {
    results,
    sigmoid: (x: readonly Expr<'v128'>[]): Statement[] => [
      ...exp(x.map((value) => f32x4.sub(v128.zero, value))),
      ...x.map((_, i) => results[i].set(f32x4.div(one, f32x4.add(one, results[i])))),
    ],
  };
}
