/**
 * The quantized linear: int8 activations by 4- or 8-bit weight codes, float32 out.
 *
 *   out[i, j] = rowScale[i] * colScale[j] * sum_k (a[i, k] - rowZero[i]) (code[j, k] - colZero[j]) + bias[j]
 *
 * of which the kernel sums a * code, and the epilogue subtracts colZero * rowSum and rowZero * colSum.
 *
 * m rows, n columns, K = 4 * groups (zero padded).
 * a         int8 [m, K], row-major; rows up to the next multiple of the tile must be readable
 * rows      a record of 16 bytes a row: scale float32, sum_k (a - zero) int32, zero int32, 4 bytes unused
 * panels    codes in the `u8-8x4` or `u4-8x4` layout: 8 columns by 4 of k, 32 codes a group
 * columns   a record of 128 bytes a panel: scale float32 [8], zero int32 [8], sum_k code int32 [8], bias float32 [8]
 * out       float32, rows `outStride` bytes apart
 * scratch   `linearScratchBytes` bytes
 *
 * A panel is unpacked once to what the dot instruction wants, then met by all rows, `mr` at a time: mr x 8
 * accumulators, two registers of weights and one of activations fill the sixteen of x86-64.
 * The integer sum is exact, so every variant and form gives the same bits; the float operations after it are
 * the same in each, in the same order.
 */
import { count, defineFunction, doWhile, type Local, type NewLocal, when } from '../asm/function.ts';
import { type Expr, f32, f32x4, i8x16, i16x8, i32, i32x4, type Statement, v128 } from '../asm/ops.ts';

/**
 * How 8-bit codes reach the relaxed dot, whose second operand is only specified for 0..127:
 * `unsigned` as they are (the engine reads bytes as unsigned), `signed` minus 128 (it reads them as signed; zero and
 * sum of a column must then be those of the codes minus 128), `nibbles` in two products that are exact everywhere.
 */
export type CodeForm = 'unsigned' | 'signed' | 'nibbles';

export interface LinearOptions {
  readonly name: string;
  readonly bits: 4 | 8;
  readonly relaxed: boolean;
  readonly form: CodeForm;
  /** Rows of a tile, at most 8. */
  readonly mr: number;
}

const LOW_NIBBLES = /* @__PURE__ */ i32.const(0x0f);
const TAIL_ROW_BYTES = 32;

/** Scratch that a call with these sizes needs, in bytes, for any variant and tile up to 8 rows. */
export function linearScratchBytes(m: number, groups: number): number {
  const widenedRows = (m + 8) * groups * 8;
  return 8 * TAIL_ROW_BYTES + groups * 64 + widenedRows;
}

export function linearCodes({ name, bits, relaxed, form, mr }: LinearOptions) {
  return defineFunction(
    name,
    ['i32', 'i32', 'i32', 'i32', 'i32', 'i32', 'i32', 'i32', 'i32', 'i32'],
    ([m, n, groups, a, rows, panels, columns, out, outStride, scratch], local) => {
      const [i, j, k, b, row, left, panel, unpacked, column] = Array.from({ length: 9 }, () => local('i32'));
      const rowBytes = local('i32');
      const tileRows = Array.from({ length: mr }, (_, r) => r);
      const pointers = tileRows.map(() => local('i32'));
      const acc = tileRows.map(() => [local('v128'), local('v128')] as const);
      const x = local('v128');
      const y = [local('v128'), local('v128')] as const;

      /** Adds the products of all groups of four k: two loads of weights a group, one of activations a row. */
      const products = (): Statement[] => [
        ...tileRows.map((r) =>
          pointers[r].set(r === 0 ? i32.add(a, i32.mul(i, rowBytes)) : i32.add(pointers[r - 1], rowBytes)),
        ),
        k.set(groups),
        doWhile(
          [
            ...(relaxed ? [0] : [0, 1]).flatMap((half) => [
              ...y.map((register, side) => register.set(v128.load(b, 32 * half + 16 * side))),
              ...tileRows.flatMap((r) => [
                x.set(v128.load32_splat(pointers[r], 4 * half)),
                ...acc[r].map((sum, side) => sum.set(multiplyAdd(relaxed, sum, x, y[side]))),
              ]),
            ]),
            ...pointers.map((pointer) => pointer.set(i32.add(pointer, i32.const(relaxed ? 4 : 8)))),
            b.set(i32.add(b, i32.const(relaxed ? 32 : 64))),
          ],
          decrement(k),
        ),
      ];

      const tile: Statement[] = [
        ...acc.flat().map((sum) => sum.set(v128.zero)),
        b.set(unpacked),
        ...products(),
        // The high nibbles came first: sixteen times their sum, then the low ones, which follow them in scratch.
        ...(form === 'nibbles'
          ? [...acc.flat().map((sum) => sum.set(i32x4.shl(sum, i32.const(4)))), ...products()]
          : []),
        row.set(i32.add(out, i32.add(i32.mul(i, outStride), i32.shl(j, i32.const(2))))),
        ...tileRows.flatMap((r) => [when(i32.lt_s(i32.add(i, i32.const(r)), m), epilogue(r))]),
      ];

      function epilogue(r: number): Statement[] {
        const record = i32.add(rows, i32.shl(i32.add(i, i32.const(r)), i32.const(4)));
        const values = acc[r].map((sum, side) => {
          const ofColumn = (field: number) => v128.load(column, 32 * field + 16 * side);
          const ofRow = (field: number) => v128.load32_splat(record, 4 * field);
          const zeros = i32x4.add(i32x4.mul(ofColumn(1), ofRow(1)), i32x4.mul(ofColumn(2), ofRow(2)));
          const scaled = f32x4.mul(f32x4.convert_i32x4_s(i32x4.sub(sum, zeros)), f32x4.mul(ofColumn(0), ofRow(0)));
          return f32x4.add(scaled, ofColumn(3));
        });
        return [
          left.set(i32.sub(n, j)),
          when(
            i32.ge_s(left, i32.const(8)),
            values.map((value, side) => v128.store(row, value, 16 * side)),
            [
              ...values.map((value, side) => v128.store(scratch, value, 16 * side)),
              copyFloats(local, scratch, row, left),
            ],
          ),
          row.set(i32.add(row, outStride)),
        ];
      }

      const groupBytes = bits === 4 ? 16 : 32;
      const ready = relaxed && bits === 8 && form === 'unsigned';
      const scratchPanel = i32.add(scratch, i32.const(8 * TAIL_ROW_BYTES));
      return [
        rowBytes.set(i32.shl(groups, i32.const(relaxed ? 2 : 3))),
        ...(relaxed ? [] : widen(local, a, i32.add(scratchPanel, i32.shl(groups, i32.const(6))), i32.mul(m, groups))),
        count(j, n, 8, [
          column.set(i32.add(columns, i32.shl(j, i32.const(4)))),
          panel.set(i32.add(panels, i32.mul(i32.shr_u(j, i32.const(3)), i32.mul(groups, i32.const(groupBytes))))),
          ...(ready
            ? [unpacked.set(panel)]
            : [unpacked.set(scratchPanel), ...unpack({ bits, relaxed, form }, local, panel, unpacked, groups)]),
          count(i, m, mr, tile),
        ]),
      ];
    },
  );
}

function multiplyAdd(relaxed: boolean, sum: Expr<'v128'>, x: Expr<'v128'>, y: Expr<'v128'>): Expr<'v128'> {
  return relaxed ? i32x4.relaxed_dot_i8x16_i7x16_add_s(x, y, sum) : i32x4.add(sum, i32x4.dot_i16x8_s(x, y));
}

/** `k = k - 1`, as a condition that is 0 at the end. */
function decrement(k: Local<'i32'>): Expr<'i32'> {
  return { type: 'i32', code: [...k.set(i32.sub(k, i32.const(1))), ...k.code] };
}

function copyFloats(local: NewLocal, from: Expr<'i32'>, to: Expr<'i32'>, floats: Expr<'i32'>): Statement {
  const c = local('i32');
  const at = i32.shl(c, i32.const(2));
  return count(c, floats, 1, [f32.store(i32.add(to, at), f32.load(i32.add(from, at)))]);
}

/** Widens `groups` groups of four int8 of `a` to int16 at `to`, and lets `a` point there. */
function widen(local: NewLocal, a: Local<'i32'>, to: Expr<'i32'>, groups: Expr<'i32'>): Statement[] {
  const target = local('i32');
  const end = local('i32');
  // Two groups a step: the last may write four int16 too many, which the scratch has room for.
  return [
    target.set(to),
    end.set(i32.add(to, i32.shl(groups, i32.const(3)))),
    doWhile(
      [
        v128.store(target, v128.load8x8_s(a)),
        a.set(i32.add(a, i32.const(8))),
        target.set(i32.add(target, i32.const(16))),
      ],
      i32.lt_u(target, end),
    ),
    a.set(to),
  ];
}

/** Unpacks one panel to `to` in the order in which `products` reads it. */
function unpack(
  { bits, relaxed, form }: Pick<LinearOptions, 'bits' | 'relaxed' | 'form'>,
  local: NewLocal,
  panel: Local<'i32'>,
  to: Local<'i32'>,
  groups: Expr<'i32'>,
): Statement[] {
  const k = local('i32');
  const target = local('i32');
  const codes = [local('v128'), local('v128')] as const;
  const mask = i8x16.splat(LOW_NIBBLES);
  const load =
    bits === 8
      ? codes.map((register, side) => register.set(v128.load(panel, 16 * side)))
      : [
          codes[1].set(v128.load(panel)),
          codes[0].set(v128.and(codes[1], mask)),
          codes[1].set(i8x16.shr_u(codes[1], i32.const(4))),
        ];
  const store = (): Statement[] => {
    if (!relaxed) return codes.flatMap((register, side) => widenedCodes(register, target, side));
    if (form === 'signed') {
      return codes.map((register, side) =>
        v128.store(target, v128.xor(register, i8x16.splat(i32.const(0x80))), 16 * side),
      );
    }
    if (form === 'unsigned') return codes.map((register, side) => v128.store(target, register, 16 * side));
    const low = i32.add(target, i32.shl(groups, i32.const(5)));
    return codes.flatMap((register, side) => [
      v128.store(target, i8x16.shr_u(register, i32.const(4)), 16 * side),
      v128.store(low, v128.and(register, mask), 16 * side),
    ]);
  };
  return [
    target.set(to),
    k.set(groups),
    doWhile(
      [
        ...load,
        ...store(),
        panel.set(i32.add(panel, i32.const(bits === 4 ? 16 : 32))),
        target.set(i32.add(target, i32.const(relaxed ? 32 : 64))),
      ],
      decrement(k),
    ),
  ];
}

/** Four columns of four codes as int16: k 0-1 of each column for the first half step, k 2-3 for the second. */
function widenedCodes(register: Local<'v128'>, target: Expr<'i32'>, side: number): Statement[] {
  const pairs = [0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15];
  return [
    register.set(i8x16.shuffle(register, register, pairs)),
    v128.store(target, i16x8.extend_low_i8x16_u(register), 16 * side),
    v128.store(target, i16x8.extend_high_i8x16_u(register), 32 + 16 * side),
  ];
}
