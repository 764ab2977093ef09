/**
 * (groups, codes, columns, out): weights as float32, for layers whose activations stay float: one unpacked panel of codes
 * to the float panel that `gemm_f32` reads.
 *
 *   out[k][c] = scale[c] * float32(code[c][k] - zero[c])
 *
 * The difference is an integer, so the product alone rounds. `columns` is the panel's record.
 */
import { count, defineFunction } from '../asm/function.ts';
import { f32x4, i8x16, i16x8, i32, i32x4, v128 } from '../asm/ops.ts';

export const floatPanel = defineFunction(
  'float_panel',
  ['i32', 'i32', 'i32', 'i32'],
  ([groups, codes, columns, out], local) => {
    const k = local('i32');
    const rows = local('v128');
    // Two inputs at a time: a byte of each column of both.
    const pair = (first: number) => [
      rows.set(
        i8x16.shuffle(
          v128.load(codes),
          v128.load(codes, 16),
          [first, first + 1].flatMap((input) => [0, 1, 2, 3, 4, 5, 6, 7].map((column) => 4 * column + input)),
        ),
      ),
      ...[i16x8.extend_low_i8x16_u(rows), i16x8.extend_high_i8x16_u(rows)].flatMap((row, i) =>
        [i32x4.extend_low_i16x8_u(row), i32x4.extend_high_i16x8_u(row)].map((code, side) => {
          const steps = f32x4.convert_i32x4_s(i32x4.sub(code, v128.load(columns, 32 + 16 * side)));
          return v128.store(out, f32x4.mul(v128.load(columns, 16 * side), steps), 32 * (first + i) + 16 * side);
        }),
      ),
    ];
    return [
      count(k, groups, 1, [
        ...pair(0),
        ...pair(2),
        codes.set(i32.add(codes, i32.const(32))),
        out.set(i32.add(out, i32.const(128))),
      ]),
    ];
  },
);
