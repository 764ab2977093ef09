/**
 * (x, y, out): the relaxed dot of 16 bytes with 16 bytes, as four int32. Run once at start on bytes beyond 127 it
 * tells how this engine reads them, and so which form of the 8-bit linear is exact here.
 */
import { defineFunction } from '../asm/function.ts';
import { i32x4, v128 } from '../asm/ops.ts';

export const dotProbe = defineFunction('dot_probe', ['i32', 'i32', 'i32'], ([x, y, out]) => [
  v128.store(out, i32x4.relaxed_dot_i8x16_i7x16_add_s(v128.load(x), v128.load(y), v128.zero)),
]);
