/**
 * (groups, panel, to, bits, size, step): one panel of codes as the quantized linear and float panels take it, a byte a
 * code in the order of `u8-8x4`, 32 bytes for each of `groups` = inputs / 4.
 *
 * bits   of a stored code: 4, 5, 6 or 8
 * size   inputs / 4 that share a multiplier and a base; divides `groups`
 * step   address of eight multipliers and eight bases, of the columns, for each `size` of the panel; 0 leaves codes as
 *        they are. An expanded code is multiplier * code + base; a product of at most 255 does not carry, so one
 *        multiplication of 16 bits is two of 8.
 */
import { defineFunction, doWhile, when } from '../asm/function.ts';
import { type Expr, i8x16, i16x8, i32, type Statement, v128 } from '../asm/ops.ts';

/** Upper bits of codes in their plane: which a byte has, of the four lowest, and what lifts them to bit 4. */
const UPPER_BITS = {
  5: { mask: [1, 2, 4, 8], factor: [16, 8, 4, 2] },
  6: { mask: [3, 3, 12, 12], factor: [16, 16, 4, 4] },
} as const;

/** A register of four bytes for each of four values. */
const columns = (values: readonly number[], bytes: (value: number) => readonly number[]) => values.flatMap(bytes);
const everyByte = (value: number) => [value, value, value, value];

export const unpackCodes = defineFunction(
  'unpack_codes',
  ['i32', 'i32', 'i32', 'i32', 'i32', 'i32'],
  ([groups, panel, to, bits, size, step], local) => {
    const k = local('i32');
    const [low, plane, mask, factor] = Array.from({ length: 4 }, () => local('v128'));
    const [codes, multipliers, bases] = Array.from({ length: 3 }, () => [local('v128'), local('v128')] as const);
    const four = i32.const(4);

    const whole = codes.map((register, side) => register.set(v128.load(panel, 16 * side)));
    const nibbles = [
      codes[1].set(v128.load(panel)),
      codes[0].set(v128.and(codes[1], low)),
      codes[1].set(i8x16.shr_u(codes[1], four)),
    ];
    // What a shift of 16 bits brings over from the next byte is masked.
    const upper = [plane, i16x8.shr_u(plane, four)].map((bytes, side) =>
      codes[side].set(v128.or(codes[side], i16x8.mul(v128.and(bytes, mask), factor))),
    );
    const loop = (width: number, load: readonly Statement[]): Statement =>
      doWhile(
        [
          ...load,
          ...codes.map((register, side) =>
            v128.store(to, i8x16.add(i16x8.mul(register, multipliers[side]), bases[side]), 16 * side),
          ),
          panel.set(i32.add(panel, i32.const(4 * width))),
          to.set(i32.add(to, i32.const(32))),
          k.set(i32.sub(k, i32.const(1))),
        ],
        k,
      );
    const withPlane = (width: 5 | 6, load: Expr<'v128'>): Statement[] => [
      mask.set(v128.const(columns(UPPER_BITS[width].mask, everyByte))),
      factor.set(v128.const(columns(UPPER_BITS[width].factor, (value) => [value, 0, value, 0]))),
      loop(width, [plane.set(load), ...nibbles, ...upper]),
    ];
    const unless = (width: number, otherwise: readonly Statement[], then: readonly Statement[]) =>
      when(i32.ne(bits, i32.const(width)), otherwise, then);

    return [
      low.set(i8x16.splat(i32.const(0x0f))),
      ...multipliers.map((register) => register.set(i16x8.splat(i32.const(1)))),
      ...bases.map((register) => register.set(v128.zero)),
      doWhile(
        [
          when(step, [
            plane.set(v128.load(step)),
            ...[multipliers, bases].flatMap((registers, field) =>
              registers.map((register, side) => {
                const bytes = [0, 1, 2, 3].map((column) => 8 * field + 4 * side + column);
                // Byte 16 is a zero.
                return register.set(
                  i8x16.shuffle(
                    plane,
                    v128.zero,
                    columns(bytes, field === 0 ? (byte) => [byte, 16, byte, 16] : everyByte),
                  ),
                );
              }),
            ),
            step.set(i32.add(step, i32.const(16))),
          ]),
          k.set(size),
          unless(
            4,
            [
              unless(
                8,
                [unless(5, withPlane(6, v128.load64_splat(panel, 16)), withPlane(5, v128.load32_splat(panel, 16)))],
                [loop(8, whole)],
              ),
            ],
            [loop(4, nibbles)],
          ),
          groups.set(i32.sub(groups, size)),
        ],
        groups,
      ),
    ];
  },
);
