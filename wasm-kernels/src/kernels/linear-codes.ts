/**
 * The quantized linear: int8 activations by weight codes of 4, 5, 6 or 8 bits, float32 out.
 *
 *   y[i, j] = rowScale[i] * colScale[j] * sum_k (a[i, k] - rowZero[i]) (code[j, k] - colZero[j]) + bias[j]
 *
 * of which the kernel sums a * code, and the epilogue subtracts colZero * rowSum and rowZero * colSum.
 *
 * m rows, n columns, K = 4 * groups (zero padded).
 * a         int8 [m, K], row-major; rows up to the next multiple of the tile must be readable
 * rows      a record of 16 bytes a row: scale float32, sum_k (a - zero) int32, zero int32, gate int32; as many readable as of a
 * panels    codes in the layout of their width, such as `u4-8x4`: 8 columns by 4 of k, 32 codes a group
 * columns   a record of 128 bytes a panel: scale float32 [8], zero int32 [8], sum_k code int32 [8], bias float32 [8]
 * out       float32, rows `outStride` bytes apart: y where the gate of a row is 0. Else the gate is the address of a vector
 *           float32 [n] less that of the row of `out`, to which vector * y is added.
 * scratch   `linearScratchBytes` bytes
 * bits, size, steps, stepStride   of the codes, as `unpack_codes` takes them; the steps of panels lie `stepStride` bytes apart
 *
 * A panel is unpacked once to what the dot instruction wants, then met by all rows, `mr` at a time: mr x 8
 * accumulators, two registers of weights and one of activations fill the sixteen of x86-64.
 * The integer sum is exact, so every variant and form gives the same bits; the float operations after it are
 * the same in each, in the same order.
 */
import { callImport, count, defineFunction, doWhile, type Local, type NewLocal, when } from '../asm/function.ts';
import { type Expr, f32, f32x4, i8x16, i16x8, i32, i32x4, type Statement, v128 } from '../asm/ops.ts';

/**
 * How codes beyond 127 reach the relaxed dot, whose second operand is only specified for 0..127: `unsigned` as they are
 * (the engine reads bytes as unsigned), `signed` minus 128 (it reads them as signed; zeros, sums and bases of columns must
 * then be those of the codes minus 128), `nibbles` in two products that are exact everywhere.
 */
export type CodeForm = 'unsigned' | 'signed' | 'nibbles';

export interface LinearOptions {
  readonly name: string;
  readonly relaxed: boolean;
  /** The product of high halves, then that of low ones: for codes beyond 127 where the relaxed dot cannot take them. */
  readonly nibbles?: boolean;
  readonly tile: LinearTile;
}

export interface LinearTile {
  /** Rows, at most 8. */
  readonly mr: number;
  /** Groups of four k in a turn of the loop, a power of two: each turn moves a pointer for every row. */
  readonly unroll: number;
}

const TAIL_ROW_BYTES = 32;
/** The import of these modules. */
const UNPACK_CODES = 0;

/** Scratch that a call with these sizes needs, in bytes, for any variant and tile up to 8 rows. */
export function linearScratchBytes(m: number, groups: number): number {
  const widenedRows = (m + 8) * groups * 8;
  return 8 * TAIL_ROW_BYTES + groups * (32 + 64) + widenedRows;
}

const PARAMETERS = Array.from({ length: 14 }, () => 'i32' as const);

export function linearCodes({ name, relaxed, nibbles = false, tile: { mr, unroll } }: LinearOptions) {
  return defineFunction(
    name,
    PARAMETERS,
    ([m, n, groups, a, rows, panels, columns, out, outStride, scratch, bits, size, steps, stepStride], local) => {
      const [i, j, k, b, row, left, unpacked] = Array.from({ length: 7 }, () => local('i32'));
      const [rowBytes, codes, prepared] = Array.from({ length: 3 }, () => local('i32'));
      const [gate, record, target, targetStride] = Array.from({ length: 4 }, () => local('i32'));
      const tileRows = Array.from({ length: mr }, (_, r) => r);
      const pointers = tileRows.map(() => local('i32'));
      const acc = tileRows.map(() => [local('v128'), local('v128')] as const);
      const x = local('v128');
      const y = [local('v128'), local('v128')] as const;

      const halves = relaxed ? [0] : [0, 1];
      const rowStep = 4 * halves.length;
      const panelStep = 32 * halves.length;
      /** `k` turns of `many` groups of four k: two loads of weights a group, one of activations a row. */
      const turns = (many: number): Statement =>
        doWhile(
          [
            ...Array.from({ length: many * halves.length }, (_, part) => [
              ...y.map((register, side) => register.set(v128.load(b, 32 * part + 16 * side))),
              ...tileRows.flatMap((r) => [
                x.set(v128.load32_splat(pointers[r], 4 * part)),
                ...acc[r].map((sum, side) => sum.set(multiplyAdd(relaxed, sum, x, y[side]))),
              ]),
            ]).flat(),
            ...pointers.map((pointer) => pointer.set(i32.add(pointer, i32.const(many * rowStep)))),
            b.set(i32.add(b, i32.const(many * panelStep))),
          ],
          decrement(k),
        );

      /** Adds the products of all groups. */
      const products = (): Statement[] => [
        ...tileRows.map((r) =>
          pointers[r].set(r === 0 ? i32.add(a, i32.mul(i, rowBytes)) : i32.add(pointers[r - 1], rowBytes)),
        ),
        k.set(i32.shr_u(groups, i32.const(31 - Math.clz32(unroll)))),
        when(k, [turns(unroll)]),
        ...(unroll === 1 ? [] : [k.set(i32.and(groups, i32.const(unroll - 1))), when(k, [turns(1)])]),
      ];

      // Additions, since V8 adds an offset of a splat to the base of the memory, which takes a register for each.
      const recordOf = (r: number) => (r === 0 ? record : i32.add(record, i32.const(16 * r)));
      const start = i32.add(out, i32.add(i32.mul(i, outStride), i32.shl(j, i32.const(2))));
      const tile: Statement[] = [
        ...acc.flat().map((sum) => sum.set(v128.zero)),
        b.set(unpacked),
        ...products(),
        // The high nibbles came first: sixteen times their sum, then the low ones, which follow them in scratch.
        ...(nibbles ? [...acc.flat().map((sum) => sum.set(i32x4.shl(sum, i32.const(4)))), ...products()] : []),
        row.set(start),
        record.set(i32.add(rows, i32.shl(i, i32.const(4)))),
        // The columns of the last panel may be fewer than eight: its rows go by way of scratch.
        when(
          i32.ge_s(left, i32.const(8)),
          [target.set(row), targetStride.set(outStride)],
          [target.set(scratch), targetStride.set(i32.const(TAIL_ROW_BYTES))],
        ),
        ...[0, 1].flatMap(outputs),
        ...tileRows.flatMap((r) => (r === 0 ? keep(r) : [when(i32.lt_s(i32.add(i, i32.const(r)), m), keep(r))])),
        when(i32.lt_s(left, i32.const(8)), copyTails()),
      ];

      /** Sums of one side of the tile become outputs: each field of the columns is read once, whatever the rows. */
      function outputs(side: number): Statement[] {
        const each = (expression: (sum: Local<'v128'>) => Expr<'v128'>, field: number) =>
          tileRows.flatMap((r) => [
            x.set(v128.load32_splat(recordOf(r), 4 * field)),
            acc[r][side].set(expression(acc[r][side])),
          ]);
        const column = (field: number) => y[field & 1].set(v128.load(columns, 32 * field + 16 * side));
        return [
          column(1),
          ...each((sum) => i32x4.sub(sum, i32x4.mul(y[1], x)), 1),
          column(2),
          ...each((sum) => i32x4.sub(sum, i32x4.mul(y[0], x)), 2),
          column(0),
          column(3),
          ...each((sum) => f32x4.add(f32x4.mul(f32x4.convert_i32x4_s(sum), f32x4.mul(y[0], x)), y[1]), 0),
        ];
      }

      function keep(r: number): Statement[] {
        return [
          gate.set(i32.load(recordOf(r), 12)),
          when(
            gate,
            acc[r].map((sum, side) => {
              const factor = v128.load(i32.add(row, gate), 16 * side);
              return sum.set(f32x4.add(v128.load(row, 16 * side), f32x4.mul(factor, sum)));
            }),
          ),
          ...acc[r].map((sum, side) => v128.store(target, sum, 16 * side)),
          target.set(i32.add(target, targetStride)),
          row.set(i32.add(row, outStride)),
        ];
      }

      /** From scratch to the end of each row of the tile. */
      function copyTails(): Statement[] {
        const [r, c] = [local('i32'), local('i32')];
        const at = i32.shl(c, i32.const(2));
        return [
          target.set(scratch),
          row.set(start),
          k.set(i32.sub(m, i)),
          when(i32.gt_s(k, i32.const(mr)), [k.set(i32.const(mr))]),
          count(r, k, 1, [
            count(c, left, 1, [f32.store(i32.add(row, at), f32.load(i32.add(target, at)))]),
            target.set(i32.add(target, i32.const(TAIL_ROW_BYTES))),
            row.set(i32.add(row, outStride)),
          ]),
        ];
      }

      return [
        rowBytes.set(i32.shl(groups, i32.const(relaxed ? 2 : 3))),
        codes.set(i32.add(scratch, i32.const(8 * TAIL_ROW_BYTES))),
        prepared.set(i32.add(codes, i32.shl(groups, i32.const(5)))),
        ...(relaxed ? [] : widen(local, a, i32.add(prepared, i32.shl(groups, i32.const(6))), i32.mul(m, groups))),
        count(j, n, 8, [
          left.set(i32.sub(n, j)),
          unpacked.set(panels),
          // Whole bytes need no unpacking.
          when(i32.or(steps, i32.sub(bits, i32.const(8))), [
            callImport(UNPACK_CODES, [groups, panels, codes, bits, size, steps]),
            unpacked.set(codes),
          ]),
          ...(relaxed && !nibbles ? [] : prepare(relaxed, local, unpacked, prepared, groups)),
          count(i, m, mr, tile),
          columns.set(i32.add(columns, i32.const(128))),
          panels.set(i32.add(panels, i32.shl(i32.mul(groups, bits), i32.const(2)))),
          steps.set(i32.add(steps, stepStride)),
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

/** Puts the codes at `panel` to `to`, and lets it point there: widened, or for the relaxed dot in nibbles. */
function prepare(
  relaxed: boolean,
  local: NewLocal,
  panel: Local<'i32'>,
  to: Expr<'i32'>,
  groups: Expr<'i32'>,
): Statement[] {
  const [k, target] = [local('i32'), local('i32')];
  const codes = [local('v128'), local('v128')];
  const low = i32.add(target, i32.shl(groups, i32.const(5)));
  return [
    target.set(to),
    count(k, groups, 1, [
      ...codes.map((register, side) => register.set(v128.load(panel, 16 * side))),
      ...codes.flatMap((register, side) =>
        relaxed
          ? [
              v128.store(target, i8x16.shr_u(register, i32.const(4)), 16 * side),
              v128.store(low, v128.and(register, i8x16.splat(i32.const(0x0f))), 16 * side),
            ]
          : widenedCodes(register, target, side),
      ),
      panel.set(i32.add(panel, i32.const(32))),
      target.set(i32.add(target, i32.const(relaxed ? 32 : 64))),
    ]),
    panel.set(to),
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
