/**
 * Passes over the rows of a float32 matrix [rows, cols], cols a multiple of 4. A fused kernel is one row pass
 * after another while the row is in the first-level cache: norm + modulate + quantize, gelu + quantize.
 */
import { count, defineFunction, doWhile, type NewLocal, type WasmFunction, when } from '../asm/function.ts';
import { type Expr, f32, f32x4, i8x16, i16x8, i32, i32x4, type Statement, v128 } from '../asm/ops.ts';
import { sigmoid } from './exponential.ts';
import {
  forBytes,
  integers,
  LEAST_RANGE,
  maxLanes,
  minLanes,
  splat,
  sumIntegerLanes,
  sumLanes,
  toIntegers,
} from './lanes.ts';

type Address = Expr<'i32'>;
/** Statements for one row: read floats at `from`, write floats at `to`. */
type RowPass = (from: Address, to: Address) => Statement[];

/** (x - mean) / sqrt(variance + eps) * (1 + scale) + shift; mean and variance in two passes. */
function normModulate(local: NewLocal, bytes: Address, eps: Expr<'f32'>, shift: Address, scale: Address): RowPass {
  const at = local('i32');
  const sum = local('v128');
  const d = local('v128');
  const mean = local('v128');
  const inverse = local('v128');
  const size = local('f32');
  return (from, to) => [
    size.set(f32.convert_i32_s(i32.shr_u(bytes, i32.const(2)))),
    sum.set(v128.zero),
    ...forBytes(at, bytes, 16, [sum.set(f32x4.add(sum, v128.load(i32.add(from, at))))]),
    mean.set(f32x4.splat(f32.div(sumLanes(sum), size))),
    sum.set(v128.zero),
    ...forBytes(at, bytes, 16, [
      d.set(f32x4.sub(v128.load(i32.add(from, at)), mean)),
      sum.set(f32x4.add(sum, f32x4.mul(d, d))),
    ]),
    inverse.set(f32x4.splat(f32.div(f32.const(1), f32.sqrt(f32.add(f32.div(sumLanes(sum), size), eps))))),
    ...forBytes(at, bytes, 16, [
      d.set(f32x4.mul(f32x4.sub(v128.load(i32.add(from, at)), mean), inverse)),
      d.set(f32x4.mul(d, f32x4.add(splat(1), v128.load(i32.add(scale, at))))),
      v128.store(i32.add(to, at), f32x4.add(d, v128.load(i32.add(shift, at)))),
    ]),
  ];
}

/** x * sigmoid(2 sqrt(2 / pi) (x + 0.044715 x^3)), which equals the tanh form of GELU without its cancellation. */
function gelu(local: NewLocal, bytes: Address): RowPass {
  const at = local('i32');
  const x = local('v128');
  const sigma = sigmoid(local);
  const slope = 2 * Math.sqrt(2 / Math.PI);
  return (from, to) =>
    forBytes(at, bytes, 16, [
      x.set(v128.load(i32.add(from, at))),
      ...sigma.sigmoid(f32x4.mul(x, f32x4.add(splat(slope), f32x4.mul(splat(slope * 0.044715), f32x4.mul(x, x))))),
      v128.store(i32.add(to, at), f32x4.mul(x, sigma.result)),
    ]);
}

function silu(local: NewLocal, bytes: Address): RowPass {
  const at = local('i32');
  const x = local('v128');
  const sigma = sigmoid(local);
  return (from, to) =>
    forBytes(at, bytes, 16, [
      x.set(v128.load(i32.add(from, at))),
      ...sigma.sigmoid(x),
      v128.store(i32.add(to, at), f32x4.mul(x, sigma.result)),
    ]);
}

/**
 * Codes of one row times `balance` [cols], asymmetric over its range, which always includes 0, in `steps` = 2^bits - 1
 * steps: with range = max - min, r = steps / range, scale = range / steps and least = -2^(bits - 1),
 * zero = nearest-even(least - min r), q = nearest-even(x r) + zero in least..-least - 1. Writes q to `codes` as int8, and
 * to `record`: scale, the sum of q - zero, zero. A row of zeros gets scale 0.
 */
function quantizeRow(local: NewLocal, bytes: Address, balance: Address, steps: Address) {
  const [at, target, zero, blocks] = Array.from({ length: 4 }, () => local('i32'));
  const [low, high, factor, zeros, sum, top, bottom] = Array.from({ length: 7 }, () => local('v128'));
  const stepCount = f32.convert_i32_s(steps);
  const q = Array.from({ length: 4 }, () => local('v128'));
  const [least, range] = [local('f32'), local('f32')];
  const whereRanged = (value: Expr<'f32'>) => f32.select(value, f32.const(0), f32.gt(range, f32.const(LEAST_RANGE)));
  return (from: Address, codes: Address, record: Address): Statement[] => {
    const balanced = (vector: number) =>
      f32x4.mul(v128.load(i32.add(from, at), 16 * vector), v128.load(i32.add(balance, at), 16 * vector));
    const quantize = (vector: number): Statement[] => {
      const code = i32x4.add(toIntegers(f32x4.mul(balanced(vector), factor)), zeros);
      return [q[vector].set(i32x4.max_s(i32x4.min_s(code, top), bottom)), sum.set(i32x4.add(sum, q[vector]))];
    };
    return [
      top.set(i32x4.splat(i32.shr_u(steps, i32.const(1)))),
      bottom.set(i32x4.sub(integers(-1), top)),
      low.set(v128.zero),
      high.set(v128.zero),
      ...forBytes(at, bytes, 16, [
        q[0].set(balanced(0)),
        low.set(f32x4.pmin(low, q[0])),
        high.set(f32x4.pmax(high, q[0])),
      ]),
      least.set(minLanes(low)),
      range.set(f32.sub(maxLanes(high), least)),
      factor.set(f32x4.splat(whereRanged(f32.div(stepCount, range)))),
      zeros.set(toIntegers(f32x4.sub(f32x4.convert_i32x4_s(bottom), f32x4.mul(f32x4.splat(least), factor)))),
      zero.set(i32x4.extract_lane(zeros, 0)),
      f32.store(record, whereRanged(f32.div(range, stepCount))),
      i32.store(record, zero, 8),
      sum.set(v128.zero),
      target.set(codes),
      // Sixteen codes a store, then what is left, four a store.
      blocks.set(i32.and(bytes, i32.const(-64))),
      at.set(i32.const(0)),
      when(blocks, [
        doWhile(
          [
            ...[0, 1, 2, 3].flatMap(quantize),
            v128.store(
              target,
              i8x16.narrow_i16x8_s(i16x8.narrow_i32x4_s(q[0], q[1]), i16x8.narrow_i32x4_s(q[2], q[3])),
            ),
            target.set(i32.add(target, i32.const(16))),
            at.set(i32.add(at, i32.const(64))),
          ],
          i32.lt_s(at, blocks),
        ),
      ]),
      when(i32.lt_s(at, bytes), [
        doWhile(
          [
            ...quantize(0),
            q[0].set(i16x8.narrow_i32x4_s(q[0], q[0])),
            i32.store(target, i32x4.extract_lane(i8x16.narrow_i16x8_s(q[0], q[0]), 0)),
            target.set(i32.add(target, i32.const(4))),
            at.set(i32.add(at, i32.const(16))),
          ],
          i32.lt_s(at, bytes),
        ),
      ]),
      i32.store(record, i32.sub(sumIntegerLanes(sum), i32.mul(zero, i32.shr_u(bytes, i32.const(2)))), 4),
    ];
  };
}

const bytesOf = (floats: Address) => i32.shl(floats, i32.const(2));

/** (rows, cols, x, out): one pass from rows of x to rows of out, which may be x. */
function mapRows(name: string, pass: (local: NewLocal, bytes: Address) => RowPass): WasmFunction {
  return defineFunction(name, ['i32', 'i32', 'i32', 'i32'], ([rows, cols, x, out], local) => {
    const row = local('i32');
    const bytes = local('i32');
    const body = pass(local, bytes);
    return [
      bytes.set(bytesOf(cols)),
      count(row, rows, 1, [...body(x, out), x.set(i32.add(x, bytes)), out.set(i32.add(out, bytes))]),
    ];
  });
}

/** (rows, cols, x, xStride, line, balance, codes, records, steps): quantizes the rows of x after `pass`, which writes to `line` [cols]. */
function quantizeRows(name: string, pass?: (local: NewLocal, bytes: Address) => RowPass): WasmFunction {
  return defineFunction(
    name,
    ['i32', 'i32', 'i32', 'i32', 'i32', 'i32', 'i32', 'i32', 'i32'],
    ([rows, cols, x, xStride, line, balance, codes, records, steps], local) => {
      const row = local('i32');
      const bytes = local('i32');
      const quantize = quantizeRow(local, bytes, balance, steps);
      const body = pass
        ? [...pass(local, bytes)(x, line), ...quantize(line, codes, records)]
        : quantize(x, codes, records);
      return [
        bytes.set(bytesOf(cols)),
        count(row, rows, 1, [
          ...body,
          x.set(i32.add(x, xStride)),
          codes.set(i32.add(codes, cols)),
          records.set(i32.add(records, i32.const(16))),
        ]),
      ];
    },
  );
}

const NORM_PARAMETERS = ['i32', 'i32', 'i32', 'i32', 'i32', 'i32', 'i32', 'f32'] as const;

/** Address of the vector that belongs to `row`: one every `rowsPerVector` rows, `vectorStride` bytes apart. */
const vectorOf = (base: Address, row: Address, rowsPerVector: Address, vectorStride: Address) =>
  i32.add(base, i32.mul(i32.div_u(row, rowsPerVector), vectorStride));

/** (rows, cols, x, shift, scale, rowsPerVector, vectorStride, eps, out). */
export const normModulateRows = defineFunction(
  'norm_modulate',
  [...NORM_PARAMETERS, 'i32'],
  ([rows, cols, x, shift, scale, rowsPerVector, vectorStride, eps, out], local) => {
    const [row, bytes, shiftRow, scaleRow] = Array.from({ length: 4 }, () => local('i32'));
    const pass = normModulate(local, bytes, eps, shiftRow, scaleRow);
    return [
      bytes.set(bytesOf(cols)),
      count(row, rows, 1, [
        shiftRow.set(vectorOf(shift, row, rowsPerVector, vectorStride)),
        scaleRow.set(vectorOf(scale, row, rowsPerVector, vectorStride)),
        ...pass(x, out),
        x.set(i32.add(x, bytes)),
        out.set(i32.add(out, bytes)),
      ]),
    ];
  },
);

/** (rows, cols, x, shift, scale, rowsPerVector, vectorStride, eps, line, balance, codes, records, steps); `line` is scratch [cols]. */
export const normModulateQuantizeRows = defineFunction(
  'norm_modulate_quantize',
  [...NORM_PARAMETERS, 'i32', 'i32', 'i32', 'i32', 'i32'],
  ([rows, cols, x, shift, scale, rowsPerVector, vectorStride, eps, line, balance, codes, records, steps], local) => {
    const [row, bytes, shiftRow, scaleRow] = Array.from({ length: 4 }, () => local('i32'));
    const pass = normModulate(local, bytes, eps, shiftRow, scaleRow);
    const quantize = quantizeRow(local, bytes, balance, steps);
    return [
      bytes.set(bytesOf(cols)),
      count(row, rows, 1, [
        shiftRow.set(vectorOf(shift, row, rowsPerVector, vectorStride)),
        scaleRow.set(vectorOf(scale, row, rowsPerVector, vectorStride)),
        ...pass(x, line),
        ...quantize(line, codes, records),
        x.set(i32.add(x, bytes)),
        codes.set(i32.add(codes, cols)),
        records.set(i32.add(records, i32.const(16))),
      ]),
    ];
  },
);

export const geluRows = mapRows('gelu', gelu);
export const siluRows = mapRows('silu', silu);
export const quantizeActivations = quantizeRows('quantize');
export const geluQuantizeRows = quantizeRows('gelu_quantize', gelu);

/** (rows, cols, y, gate, rowsPerVector, vectorStride, x): x += gate * y, one gate vector every `rowsPerVector` rows. */
export const gatedAdd = defineFunction(
  'gated_add',
  ['i32', 'i32', 'i32', 'i32', 'i32', 'i32', 'i32'],
  ([rows, cols, y, gate, rowsPerVector, vectorStride, x], local) => {
    const [row, bytes, at, gateRow] = Array.from({ length: 4 }, () => local('i32'));
    const scaled = f32x4.mul(v128.load(i32.add(gateRow, at)), v128.load(i32.add(y, at)));
    return [
      bytes.set(bytesOf(cols)),
      count(row, rows, 1, [
        gateRow.set(vectorOf(gate, row, rowsPerVector, vectorStride)),
        ...forBytes(at, bytes, 16, [v128.store(i32.add(x, at), f32x4.add(v128.load(i32.add(x, at)), scaled))]),
        x.set(i32.add(x, bytes)),
        y.set(i32.add(y, bytes)),
      ]),
    ];
  },
);

/** (rows, cols, x, table, tableRows, out): out[r] = x[r] + table[r mod tableRows]. */
export const addRows = defineFunction(
  'add_rows',
  ['i32', 'i32', 'i32', 'i32', 'i32', 'i32'],
  ([rows, cols, x, table, tableRows, out], local) => {
    const [row, bytes, at, line, left] = Array.from({ length: 5 }, () => local('i32'));
    return [
      bytes.set(bytesOf(cols)),
      left.set(i32.const(0)),
      count(row, rows, 1, [
        // `left` counts table rows down, so that the table starts again without a division.
        when(i32.eqz(left), [left.set(tableRows), line.set(table)]),
        ...forBytes(at, bytes, 16, [
          v128.store(i32.add(out, at), f32x4.add(v128.load(i32.add(x, at)), v128.load(i32.add(line, at)))),
        ]),
        left.set(i32.sub(left, i32.const(1))),
        line.set(i32.add(line, bytes)),
        x.set(i32.add(x, bytes)),
        out.set(i32.add(out, bytes)),
      ]),
    ];
  },
);

/**
 * (rows, cols, x, xStride, out): the transpose of x [rows, cols] in panels of 8 of its rows: out[p][c][8]. Rows
 * beyond the last are zeros. Lets `gemm_f32` multiply by the transpose: attention scores, and weights [N, K].
 */
export const transposePanels = defineFunction(
  'transpose_panels',
  ['i32', 'i32', 'i32', 'i32', 'i32'],
  ([rows, cols, x, xStride, out], local) => {
    const [row, lane, c, from, value] = [local('i32'), local('i32'), local('i32'), local('i32'), local('f32')];
    return [
      count(row, rows, 8, [
        count(c, cols, 1, [
          from.set(i32.add(i32.add(x, i32.mul(row, xStride)), i32.shl(c, i32.const(2)))),
          count(lane, i32.const(8), 1, [
            value.set(f32.const(0)),
            when(i32.lt_s(i32.add(row, lane), rows), [value.set(f32.load(from)), from.set(i32.add(from, xStride))]),
            f32.store(out, value),
            out.set(i32.add(out, i32.const(4))),
          ]),
        ]),
      ]),
    ];
  },
);
