/**
 * Passes over the rows of a float32 matrix [rows, cols], cols a multiple of 4. A fused kernel is one row pass
 * after another while the row is in the first-level cache: norm + modulate + quantize, gelu + quantize.
 */
import { count, defineFunction, type NewLocal, type WasmFunction, when } from '../asm/function.ts';
import { type Expr, f32, f32x4, i8x16, i32, i32x4, type Statement, v128 } from '../asm/ops.ts';
import { sigmoid } from './exponential.ts';
import {
  BLOCK,
  type Block,
  forBlocks,
  forBytes,
  LEAST_RANGE,
  maxLanes,
  minLanes,
  narrow,
  ONE,
  padded,
  roundAndAdd,
  roundingBias,
  splat,
  sumBytes,
  sumIntegerLanes,
  sumLanes,
  toIntegers,
  widenRange,
} from './lanes.ts';

type Address = Expr<'i32'>;
/** What becomes of four floats of a row: `vector` vectors after `at` bytes from its start. */
type Keep = (at: Address, value: Expr<'v128'>, vector?: number) => Statement[];
/** Statements for one row: reads floats at `from`, gives what it makes of them to `keep`. */
type RowPass = (from: Address, keep: Keep) => Statement[];

/** (x - mean) / sqrt(variance + eps) * (1 + scale) + shift; mean and variance in two passes. */
function normModulate(local: NewLocal, bytes: Address, eps: Expr<'f32'>, shift: Address, scale: Address): RowPass {
  const at = local('i32');
  const sum = local('v128');
  const d = local('v128');
  const mean = local('v128');
  const inverse = local('v128');
  const size = local('f32');
  const one = local.constant(splat(1));
  return (from, keep) => [
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
      d.set(f32x4.mul(d, f32x4.add(one, v128.load(i32.add(scale, at))))),
      ...keep(at, f32x4.add(d, v128.load(i32.add(shift, at)))),
    ]),
  ];
}

/** x * sigmoid(2 sqrt(2 / pi) (x + 0.044715 x^3)), which equals the tanh form of GELU without its cancellation. */
function gelu(local: NewLocal, bytes: Address, block: Block = ONE): RowPass {
  const slope = 2 * Math.sqrt(2 / Math.PI);
  const [first, third] = [slope, slope * 0.044715].map((factor) => local.constant(splat(factor)));
  return timesSigmoid(local, bytes, block, (x) => f32x4.mul(x, f32x4.add(first, f32x4.mul(third, f32x4.mul(x, x)))));
}

const silu = (local: NewLocal, bytes: Address): RowPass => timesSigmoid(local, bytes, ONE, (x) => x);

/**
 * x * sigmoid(argument(x)).
 *
 * @param block vectors of a turn: a whole block where a step of the network waits for it, one where the module's size counts
 */
function timesSigmoid(
  local: NewLocal,
  bytes: Address,
  block: Block,
  argument: (x: Expr<'v128'>) => Expr<'v128'>,
): RowPass {
  const at = local('i32');
  const x = block.map(() => local('v128'));
  const { sigmoid: sigma, results } = sigmoid(local, block.length);
  return (from, keep) => {
    const turn = (vectors: Block): Statement[] => [
      ...vectors.map((v) => x[v].set(v128.load(i32.add(from, at), 16 * v))),
      ...sigma(vectors.map((v) => argument(x[v]))),
      ...vectors.flatMap((v) => keep(at, f32x4.mul(x[v], results[v]), v)),
    ];
    return block === ONE ? forBytes(at, bytes, 16, turn(ONE)) : forBlocks(local, at, bytes, turn(block), turn(ONE));
  };
}

/**
 * Codes of one row, asymmetric over its range, which always includes 0, in `steps` = 2^bits - 1 steps: with
 * range = max - min, r = steps / range, scale = range / steps and least = -2^(bits - 1),
 * zero = nearest-even(least - min r), q = nearest-even(x r) + zero in least..-least - 1. Writes q to `codes` as int8, and
 * to `record`: scale, the sum of q - zero, zero. A row of zeros gets scale 0.
 *
 * `begin`, then `see` all values of the row, then `write` them.
 */
function quantizeRow(local: NewLocal, bytes: Address, steps: Address) {
  const [at, target, zero] = Array.from({ length: 3 }, () => local('i32'));
  const [factor, zeros, sum, top, bottom, low, high, packed] = Array.from({ length: 8 }, () => local('v128'));
  const q = BLOCK.map(() => local('v128'));
  const [least, range] = [local('f32'), local('f32')];
  const stepCount = f32.convert_i32_s(steps);
  const smallest = i32.sub(i32.const(-1), i32.shr_u(steps, i32.const(1)));
  const whereRanged = (value: Expr<'f32'>) => f32.select(value, f32.const(0), f32.gt(range, f32.const(LEAST_RANGE)));
  const begin = [low, high].map((extreme) => extreme.set(v128.zero));
  const see = (values: readonly Expr<'v128'>[]): Statement[] => {
    const seen = q.slice(0, values.length);
    return [...seen.map((value, i) => value.set(values[i])), ...widenRange(low, high, seen)];
  };
  const write = (valueAt: (at: Address, vector: number) => Expr<'v128'>, codes: Address, record: Address) => {
    const quantize = (vector: number) => q[vector].set(roundAndAdd(f32x4.mul(valueAt(at, vector), factor), zeros));
    // Bytes are clamped and summed, not words: of all bits, saturation does nearly all of it.
    const clamp = (bytesOfCodes: Expr<'v128'>): Statement[] => [
      packed.set(i8x16.max_s(i8x16.min_s(bytesOfCodes, top), bottom)),
      sum.set(i32x4.add(sum, sumBytes(packed))),
    ];
    return [
      top.set(i8x16.splat(i32.shr_u(steps, i32.const(1)))),
      bottom.set(i8x16.splat(smallest)),
      least.set(minLanes(low)),
      range.set(f32.sub(maxLanes(high), least)),
      factor.set(f32x4.splat(whereRanged(f32.div(stepCount, range)))),
      zeros.set(toIntegers(f32x4.sub(f32x4.splat(f32.convert_i32_s(smallest)), f32x4.mul(f32x4.splat(least), factor)))),
      zero.set(i32x4.extract_lane(zeros, 0)),
      zeros.set(roundingBias(zeros)),
      f32.store(record, whereRanged(f32.div(range, stepCount))),
      i32.store(record, zero, 8),
      sum.set(v128.zero),
      target.set(codes),
      ...forBlocks(
        local,
        at,
        bytes,
        [
          ...BLOCK.map(quantize),
          ...clamp(narrow(q)),
          v128.store(target, packed),
          target.set(i32.add(target, i32.const(16))),
        ],
        [
          quantize(0),
          ...clamp(narrow(padded(q, ONE))),
          i32.store(target, i32x4.extract_lane(packed, 0)),
          target.set(i32.add(target, i32.const(4))),
        ],
      ),
      i32.store(record, i32.sub(sumIntegerLanes(sum), i32.mul(zero, i32.shr_u(bytes, i32.const(2)))), 4),
    ];
  };
  return { begin, see, write };
}

/** Quantizes what `pass` makes of a row at `from`, times `balance` [cols]. It is in `line` [cols] between. */
function quantizePass(local: NewLocal, bytes: Address, line: Address, balance: Address, steps: Address, pass: RowPass) {
  const { begin, see, write } = quantizeRow(local, bytes, steps);
  const balanced = local('v128');
  return (from: Address, codes: Address, record: Address): Statement[] => [
    ...begin,
    ...pass(from, (at, value, vector = 0) => [
      balanced.set(f32x4.mul(value, v128.load(i32.add(balance, at), 16 * vector))),
      v128.store(i32.add(line, at), balanced, 16 * vector),
      ...see([balanced]),
    ]),
    ...write((at, vector) => v128.load(i32.add(line, at), 16 * vector), codes, record),
  ];
}

const bytesOf = (floats: Address) => i32.shl(floats, i32.const(2));
const keepAt =
  (out: Address): Keep =>
  (at, value, vector = 0) => [v128.store(i32.add(out, at), value, 16 * vector)];

/** (rows, cols, x, out): one pass from rows of x to rows of out, which may be x. */
function mapRows(name: string, pass: (local: NewLocal, bytes: Address) => RowPass): WasmFunction {
  return defineFunction(name, ['i32', 'i32', 'i32', 'i32'], ([rows, cols, x, out], local) => {
    const row = local('i32');
    const bytes = local('i32');
    const body = pass(local, bytes);
    return [
      bytes.set(bytesOf(cols)),
      count(row, rows, 1, [...body(x, keepAt(out)), x.set(i32.add(x, bytes)), out.set(i32.add(out, bytes))]),
    ];
  });
}

type QuantizeOne = (from: Address, codes: Address, record: Address) => Statement[];

/** (rows, cols, x, xStride, line, balance, codes, records, steps): quantizes the rows of x as `build` does one; `line` [cols] is scratch. */
function quantizeRows(
  name: string,
  build: (local: NewLocal, bytes: Address, line: Address, balance: Address, steps: Address) => QuantizeOne,
): WasmFunction {
  return defineFunction(
    name,
    ['i32', 'i32', 'i32', 'i32', 'i32', 'i32', 'i32', 'i32', 'i32'],
    ([rows, cols, x, xStride, line, balance, codes, records, steps], local) => {
      const row = local('i32');
      const bytes = local('i32');
      const quantize = build(local, bytes, line, balance, steps);
      return [
        bytes.set(bytesOf(cols)),
        count(row, rows, 1, [
          ...quantize(x, codes, records),
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
        ...pass(x, keepAt(out)),
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
    const quantize = quantizePass(local, bytes, line, balance, steps, pass);
    return [
      bytes.set(bytesOf(cols)),
      count(row, rows, 1, [
        shiftRow.set(vectorOf(shift, row, rowsPerVector, vectorStride)),
        scaleRow.set(vectorOf(scale, row, rowsPerVector, vectorStride)),
        ...quantize(x, codes, records),
        x.set(i32.add(x, bytes)),
        codes.set(i32.add(codes, cols)),
        records.set(i32.add(records, i32.const(16))),
      ]),
    ];
  },
);

export const geluRows = mapRows('gelu', gelu);
export const siluRows = mapRows('silu', silu);
export const geluQuantizeRows = quantizeRows('gelu_quantize', (local, bytes, line, balance, steps) =>
  quantizePass(local, bytes, line, balance, steps, gelu(local, bytes, BLOCK)),
);

/** Reads the rows twice instead of writing a line between. */
export const quantizeActivations = quantizeRows('quantize', (local, bytes, _line, balance, steps) => {
  const { begin, see, write } = quantizeRow(local, bytes, steps);
  const at = local('i32');
  return (from, codes, record) => {
    const balanced = (offset: Address, vector: number) =>
      f32x4.mul(v128.load(i32.add(from, offset), 16 * vector), v128.load(i32.add(balance, offset), 16 * vector));
    const seeing = (vectors: readonly number[]) => see(vectors.map((vector) => balanced(at, vector)));
    return [...begin, ...forBlocks(local, at, bytes, seeing(BLOCK), seeing(ONE)), ...write(balanced, codes, record)];
  };
});

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
