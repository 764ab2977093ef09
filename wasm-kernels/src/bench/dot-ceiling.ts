/**
 * The measured ceiling of matrix products: loops of nothing but the product instruction on registers. A kernel cannot be
 * faster than this on the same engine and processor. Modules of their own, for benchmarks; no worker ships them.
 *
 * (iterations, at): `UNROLL` times in each iteration, each of `ACCUMULATORS` registers takes one product. 16 bytes a
 * register are read at `at` before the loop and written back after it, so that no engine can drop or merge the work.
 */
import { assembleModule, defineFunction, doWhile, type Local, type WasmFunction } from '../asm/function.ts';
import { type Expr, f32x4, i32, i32x4, v128 } from '../asm/ops.ts';
import type { Variant } from '../kernels/index.ts';

/** Independent sums: more than the latency of the instruction needs, and with the operands no more than 15 registers. */
const ACCUMULATORS = 12;
const UNROLL = 4;

type V128 = Local<'v128'>;
type Step = (sum: V128, x: V128, y: V128) => Expr<'v128'>;

function ceiling(name: string, step: Step): WasmFunction {
  return defineFunction(name, ['i32', 'i32'], ([iterations, at], local) => {
    const sums = Array.from({ length: ACCUMULATORS }, () => local('v128'));
    const [x, y] = [local('v128'), local('v128')];
    const once = sums.map((sum) => sum.set(step(sum, x, y)));
    return [
      ...sums.map((sum, i) => sum.set(v128.load(at, 16 * i))),
      x.set(v128.load(at, 16 * ACCUMULATORS)),
      y.set(v128.load(at, 16 * (ACCUMULATORS + 1))),
      doWhile(
        [...Array.from({ length: UNROLL }, () => once).flat(), iterations.set(i32.sub(iterations, i32.const(1)))],
        iterations,
      ),
      ...sums.map((sum, i) => v128.store(at, sum, 16 * i)),
    ];
  });
}

// The sum is an operand of the product where a product of x and y alone would be computed once and added twelve times.
const i16Dot = ceiling('i16_dot', (sum, _x, y) => i32x4.add(sum, i32x4.dot_i16x8_s(sum, y)));
const f32Madd = ceiling('f32_madd', (sum, _x, y) => f32x4.add(sum, f32x4.mul(sum, y)));
const relaxedDot = ceiling('relaxed_dot', (sum, x, y) => i32x4.relaxed_dot_i8x16_i7x16_add_s(x, y, sum));

/** Multiply-adds of one instruction on 16 bytes. */
const LANES = { relaxed_dot: 16, i16_dot: 8, f32_madd: 4 } as const;
export type CeilingName = keyof typeof LANES;

const FUNCTIONS: Record<Variant, readonly WasmFunction[]> = {
  simd: [i16Dot, f32Madd],
  relaxed: [i16Dot, f32Madd, relaxedDot],
};

/** A module that exports the ceilings of a variant over `env.memory`, of which it uses `CEILING_BYTES`. */
export function assembleCeiling(variant: Variant): Uint8Array<ArrayBuffer> {
  return assembleModule(FUNCTIONS[variant]);
}

export const CEILING_BYTES = 16 * (ACCUMULATORS + 2);

/** Multiply-adds of one iteration. */
export const ceilingMacs = (name: CeilingName): number => LANES[name] * ACCUMULATORS * UNROLL;
