/**
 * The quantized linear: int8 activations by weight codes of 4, 5, 6 or 8 bits, float32 out.
 *
 *   y[i, j] = rowScale[i] * colScale[j] * sum_k (a[i, k] - rowZero[i]) (code[j, k] - colZero[j]) + bias[j]
 *
 * of which the kernel sums a * code, and the epilogue subtracts colZero * rowSum and rowZero * colSum.
 *
 * m rows, n columns, K = 4 * groups (zero padded).
 * a         int8 [m, K], row-major; one row and 16 bytes more must be readable
 * rows      a record of 16 bytes a row: scale float32, sum_k (a - zero) int32, zero int32, gate int32; as many readable as tiles cover
 * panels    codes in the layout of their width, such as `u4-8x4`: 8 columns by 4 of k, 32 codes a group
 * columns   a record of 128 bytes a panel: scale float32 [8], zero int32 [8], sum_k code int32 [8], bias float32 [8]
 * out       float32, rows `outStride` bytes apart: y where the gate of a row is 0. Else the gate is the address of a vector
 *           float32 [n] less that of the row of `out`, to which vector * y is added.
 * scratch   `linearScratchBytes` bytes
 * bits, size, steps, stepStride   of the codes, as `unpack_codes` takes them; the steps of panels lie `stepStride` bytes apart
 *
 * A panel is unpacked once to what the dot instruction wants, then met by all rows, `mr` at a time and in pairs
 * (row-pairs.ts): mr x 8 accumulators, two registers of weights and one of activations fill the sixteen of x86-64.
 * The integer sum is exact, so every variant and form gives the same bits; the float operations after it are
 * the same in each, in the same order.
 */
import { callImport, count, defineFunction, type Local, type NewLocal, repeat, when } from '../asm/function.ts';
import { type Expr, f32, f32x4, i8x16, i16x8, i32, i32x4, type Statement, v128 } from '../asm/ops.ts';
import { everyLane, FIELDS, PAIR_BYTES, PAIR_SLACK, packFields, packPairs, sortPair, swapped } from './row-pairs.ts';

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
  /** Rows: 2, 4, 6 or 8. */
  readonly mr: number;
  /** Groups of four k in a turn of the loop, a power of two. */
  readonly unroll: number;
}

const TAIL_ROW_BYTES = 32;
const FIELD_BYTES = 4;
/** The import of these modules. */
const UNPACK_CODES = 0;

/** Scratch that a call with these sizes needs, in bytes, for any variant and tile up to 8 rows. */
export function linearScratchBytes(m: number, groups: number): number {
  const pairs = (m + 8) * groups * 8 + PAIR_SLACK;
  return 8 * TAIL_ROW_BYTES + groups * (32 + 64) + FIELDS * FIELD_BYTES * (m + 8) + pairs;
}

const PARAMETERS = Array.from({ length: 14 }, () => 'i32' as const);

export function linearCodes({ name, relaxed, nibbles = false, tile: { mr, unroll } }: LinearOptions) {
  return defineFunction(
    name,
    PARAMETERS,
    ([m, n, groups, a, rows, panels, columns, out, outStride, scratch, bits, size, steps, stepStride], local) => {
      const [i, j, k, b, row, left, unpacked] = Array.from({ length: 7 }, () => local('i32'));
      const [rowBytes, codes, prepared, paired, fields, fieldStride] = Array.from({ length: 6 }, () => local('i32'));
      const [gated, gate, record, target, targetStride] = Array.from({ length: 5 }, () => local('i32'));
      const fieldsOfTile = Array.from({ length: FIELDS }, () => local('i32'));
      const tileRows = Array.from({ length: mr }, (_, r) => r);
      const acc = tileRows.map(() => [local('v128'), local('v128')] as const);
      const pairs = Array.from({ length: mr / 2 }, (_, p) => ({ at: local('i32'), sums: acc.slice(2 * p, 2 * p + 2) }));
      const x = local('v128');
      const values = local('v128');
      const y = [local('v128'), local('v128')] as const;

      const halves = relaxed ? [0] : [0, 1];
      // Where a product and its sum are two instructions, they need the ports of a shuffle more than a load costs.
      const swaps = relaxed;
      /** A step of all rows. Pointers move with each: at equal offsets the checks of loads have an instruction in common. */
      const step: readonly Statement[] = [
        ...y.map((register, side) => register.set(v128.load(b, 16 * side))),
        ...pairs.flatMap(({ at, sums }) =>
          sums.flatMap((sides, turn) => [
            x.set(swaps ? (turn === 0 ? v128.load64_splat(at) : swapped(x)) : v128.load32_splat(at, 4 * turn)),
            ...sides.map((sum, side) => sum.set(multiplyAdd(relaxed, sum, x, y[side]))),
          ]),
        ),
        ...pairs.map(({ at }) => at.set(i32.add(at, i32.const(PAIR_BYTES)))),
        b.set(i32.add(b, i32.const(32))),
      ];
      /** `k` turns of `many` groups of four k. */
      const turns = (many: number) => repeat(k, Array.from({ length: many * halves.length }, () => step).flat());

      /** Adds the products of all groups. */
      const products = (): Statement[] => [
        ...pairs.map(({ at }, p) =>
          at.set(
            p === 0 ? i32.add(paired, i32.mul(i, rowBytes)) : i32.add(pairs[p - 1].at, i32.shl(rowBytes, i32.const(1))),
          ),
        ),
        k.set(i32.shr_u(groups, i32.const(31 - Math.clz32(unroll)))),
        when(k, [turns(unroll)]),
        ...(unroll === 1 ? [] : [k.set(i32.and(groups, i32.const(unroll - 1))), when(k, [turns(1)])]),
      ];

      const start = i32.add(out, i32.add(i32.mul(i, outStride), i32.shl(j, i32.const(2))));
      const tile: Statement[] = [
        ...acc.flat().map((sum) => sum.set(v128.zero)),
        b.set(unpacked),
        ...products(),
        // The high nibbles came first: sixteen times their sum, then the low ones, which follow them in scratch.
        ...(nibbles ? [...acc.flat().map((sum) => sum.set(i32x4.shl(sum, i32.const(4)))), ...products()] : []),
        ...(swaps ? pairs : []).flatMap(({ sums: [first, second] }) =>
          [0, 1].flatMap((side) => sortPair(first[side], second[side], x)),
        ),
        row.set(start),
        // The columns of the last panel may be fewer than eight: its rows go by way of scratch.
        when(
          i32.ge_s(left, i32.const(8)),
          [target.set(row), targetStride.set(outStride)],
          [target.set(scratch), targetStride.set(i32.const(TAIL_ROW_BYTES))],
        ),
        ...fieldsOfTile.map((at, field) =>
          at.set(
            field === 0 ? i32.add(fields, i32.shl(i, i32.const(2))) : i32.add(fieldsOfTile[field - 1], fieldStride),
          ),
        ),
        ...[0, 1].flatMap(outputs),
        when(
          i32.or(gated, i32.gt_s(i32.add(i, i32.const(mr)), m)),
          [
            record.set(i32.add(rows, i32.shl(i, i32.const(4)))),
            ...tileRows.flatMap((r) => [when(i32.lt_s(i32.add(i, i32.const(r)), m), [...openGate(r), ...keep(r)])]),
          ],
          tileRows.flatMap(keep),
        ),
        when(i32.lt_s(left, i32.const(8)), copyTails()),
      ];

      /** Sums of one side of the tile become outputs: each field of the columns is read once, whatever the rows. */
      function outputs(side: number): Statement[] {
        const column = (field: number) => y[0].set(v128.load(columns, 32 * field + 16 * side));
        const each = (expression: (sum: Local<'v128'>) => Expr<'v128'>): Statement[] =>
          acc.map((sums) => sums[side].set(expression(sums[side])));
        /** With the field of each row in all lanes of `x`. */
        const withField = (field: number, expression: (sum: Local<'v128'>) => Expr<'v128'>): Statement[] =>
          acc.flatMap((sums, r) => [
            ...(r % 4 === 0 ? [values.set(v128.load(fieldsOfTile[field], FIELD_BYTES * r))] : []),
            x.set(everyLane(values, r % 4)),
            sums[side].set(expression(sums[side])),
          ]);
        return [
          column(1),
          ...withField(1, (sum) => i32x4.sub(sum, i32x4.mul(y[0], x))),
          column(2),
          ...withField(2, (sum) => i32x4.sub(sum, i32x4.mul(y[0], x))),
          column(0),
          ...withField(0, (sum) => f32x4.mul(f32x4.convert_i32x4_s(sum), f32x4.mul(y[0], x))),
          column(3),
          ...each((sum) => f32x4.add(sum, y[0])),
        ];
      }

      /** What is there, plus the gate times y, where the row has a gate. */
      function openGate(r: number): Statement[] {
        return [
          gate.set(i32.load(record, 16 * r + 12)),
          when(
            gate,
            acc[r].map((sum, side) => {
              const factor = v128.load(i32.add(row, gate), 16 * side);
              return sum.set(f32x4.add(v128.load(row, 16 * side), f32x4.mul(factor, sum)));
            }),
          ),
          row.set(i32.add(row, outStride)),
        ];
      }

      function keep(r: number): Statement[] {
        return [
          ...acc[r].map((sum, side) => v128.store(target, sum, 16 * side)),
          target.set(i32.add(target, targetStride)),
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
        fields.set(i32.add(prepared, i32.shl(groups, i32.const(6)))),
        fieldStride.set(i32.shl(i32.add(m, i32.const(8)), i32.const(2))),
        paired.set(i32.add(fields, i32.mul(fieldStride, i32.const(FIELDS)))),
        ...packFields(local, { rows: m, from: rows, to: fields, stride: fieldStride, gated }),
        packPairs(local, { wide: !relaxed, rows: m, rowBytes: i32.shl(groups, i32.const(2)), from: a, to: paired }),
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
