/**
 * What lets attention run in the quantized linear: keys and values become weights (codes 0..255 in the `u8-8x4` panels
 * and their column records), scores become activations. Both products are then exact sums of integers.
 *
 *   scores = q K^T: outputs are keys, one scale and zero for each key; 1 / sqrt(depth) is part of the scale, the bias of
 *   a key that of its column
 *   out = P V: outputs are channels, one scale and zero for each channel over all keys
 *
 * As everywhere, ranges include 0 and those not above 2^-100 count as zero. `shift` is 128 where the linear reads codes
 * minus 128, else 0.
 */
import { count, defineFunction, when } from '../asm/function.ts';
import { type Expr, f32, f32x4, i32, i32x4, type Statement, v128 } from '../asm/ops.ts';
import { exponential } from './exponential.ts';
import {
  BLOCK,
  type Block,
  foldVectors,
  forBlocks,
  integers,
  LEAST_RANGE,
  maxLanes,
  minLanes,
  narrow,
  narrowUnsigned,
  ONE,
  padded,
  roundAndAdd,
  roundingBias,
  splat,
  sumBytes,
  sumIntegerLanes,
  sumUnsignedBytes,
  toIntegers,
  widenRange,
} from './lanes.ts';

/** float32 [4] to codes 0..255 as int32 [4]. */
const codesOf = (value: Expr<'v128'>, factor: Expr<'v128'>, zeros: Expr<'v128'>): Expr<'v128'> => {
  const rounded = i32x4.add(toIntegers(f32x4.mul(value, factor)), zeros);
  return i32x4.max_s(i32x4.min_s(rounded, integers(255)), v128.zero);
};

/** (keys, depth, x, xStride, scale, bias, shift, panels, columns): keys [keys, depth]; bias float32 [keys rounded up to 8]. */
export const quantizeKeys = defineFunction(
  'quantize_keys',
  ['i32', 'i32', 'i32', 'i32', 'f32', 'i32', 'i32', 'i32', 'i32'],
  ([keys, depth, x, xStride, scale, bias, shift, panels, columns], local) => {
    const [n, at, bytes, target, record, zero, all] = Array.from({ length: 7 }, () => local('i32'));
    const [low, high, factor, zeros, sum, packed] = Array.from({ length: 6 }, () => local('v128'));
    const q = BLOCK.map(() => local('v128'));
    const [least, range] = [local('f32'), local('f32')];
    const ranged = (value: Expr<'f32'>) => f32.select(value, f32.const(0), f32.gt(range, f32.const(LEAST_RANGE)));
    const value = (vector: number) => v128.load(i32.add(x, at), 16 * vector);
    const see = (vectors: Block): Statement[] => [
      ...vectors.map((vector) => q[vector].set(value(vector))),
      ...widenRange(low, high, q.slice(0, vectors.length)),
    ];
    const write = (vectors: Block): Statement[] => [
      ...vectors.map((vector) => q[vector].set(roundAndAdd(f32x4.mul(value(vector), factor), zeros))),
      packed.set(narrowUnsigned(padded(q, vectors))),
      sum.set(i32x4.add(sum, sumUnsignedBytes(packed))),
      ...vectors.map((vector) => i32.store(target, i32x4.extract_lane(packed, vector), 32 * vector)),
      target.set(i32.add(target, i32.const(32 * vectors.length))),
    ];
    const quantizeRow: Statement[] = [
      low.set(v128.zero),
      high.set(v128.zero),
      ...forBlocks(local, at, bytes, see(BLOCK), see(ONE)),
      least.set(minLanes(low)),
      range.set(f32.sub(maxLanes(high), least)),
      factor.set(f32x4.splat(ranged(f32.div(f32.const(255), range)))),
      zeros.set(toIntegers(f32x4.mul(f32x4.splat(f32.sub(f32.const(0), least)), factor))),
      zero.set(i32x4.extract_lane(zeros, 0)),
      zeros.set(roundingBias(zeros)),
      sum.set(v128.zero),
      target.set(
        i32.add(
          panels,
          i32.add(
            i32.mul(i32.shr_u(n, i32.const(3)), i32.shl(depth, i32.const(3))),
            i32.shl(i32.and(n, i32.const(7)), i32.const(2)),
          ),
        ),
      ),
      ...forBlocks(local, at, bytes, write(BLOCK), write(ONE)),
      f32.store(record, f32.mul(ranged(f32.div(range, f32.const(255))), scale)),
      i32.store(record, i32.sub(zero, shift), 32),
      i32.store(record, i32.sub(sumIntegerLanes(sum), i32.mul(shift, depth)), 64),
      x.set(i32.add(x, xStride)),
    ];
    return [
      bytes.set(i32.shl(depth, i32.const(2))),
      all.set(i32.and(i32.add(keys, i32.const(7)), i32.const(-8))),
      count(n, all, 1, [
        record.set(
          i32.add(
            columns,
            i32.add(i32.shl(i32.shr_u(n, i32.const(3)), i32.const(7)), i32.shl(i32.and(n, i32.const(7)), i32.const(2))),
          ),
        ),
        // Columns beyond the keys: whatever codes lie there, a scale of 0 leaves only the bias.
        when(i32.lt_s(n, keys), quantizeRow, [f32.store(record, f32.const(0))]),
        f32.store(record, f32.load(i32.add(bias, i32.shl(n, i32.const(2)))), 96),
      ]),
    ];
  },
);

/** (keys, depth, x, xStride, shift, panels, columns): values [keys, depth], depth a multiple of 4. */
export const quantizeValues = defineFunction(
  'quantize_values',
  ['i32', 'i32', 'i32', 'i32', 'i32', 'i32', 'i32'],
  ([keys, depth, x, xStride, shift, panels, columns], local) => {
    const [d, k, row, groups, target, record] = Array.from({ length: 6 }, () => local('i32'));
    const [low, high, range, ranged, factor, zeros, q, packed, sum] = Array.from({ length: 9 }, () => local('v128'));
    const channel = i32.add(x, i32.shl(d, i32.const(2)));
    const above = f32x4.gt(range, splat(LEAST_RANGE));
    const rows = [0, 1, 2, 3].flatMap((r) => [
      // Rows beyond the keys are zeros, whose code is the zero code.
      q.set(v128.zero),
      when(i32.lt_s(i32.add(k, i32.const(r)), keys), [q.set(v128.load(row)), row.set(i32.add(row, xStride))]),
      q.set(codesOf(q, factor, zeros)),
      sum.set(i32x4.add(sum, q)),
      packed.set(r === 0 ? q : v128.or(packed, i32x4.shl(q, i32.const(8 * r)))),
    ]);
    return [
      groups.set(i32.shr_u(i32.add(keys, i32.const(3)), i32.const(2))),
      count(d, depth, 4, [
        low.set(v128.zero),
        high.set(v128.zero),
        row.set(channel),
        count(k, keys, 1, [
          q.set(v128.load(row)),
          low.set(f32x4.pmin(low, q)),
          high.set(f32x4.pmax(high, q)),
          row.set(i32.add(row, xStride)),
        ]),
        range.set(f32x4.sub(high, low)),
        ranged.set(above),
        factor.set(v128.and(f32x4.div(splat(255), range), ranged)),
        zeros.set(toIntegers(f32x4.mul(f32x4.sub(v128.zero, low), factor))),
        sum.set(v128.zero),
        row.set(channel),
        target.set(
          i32.add(
            panels,
            i32.add(
              i32.mul(i32.shr_u(d, i32.const(3)), i32.shl(groups, i32.const(5))),
              i32.shl(i32.and(d, i32.const(7)), i32.const(2)),
            ),
          ),
        ),
        count(k, keys, 4, [...rows, v128.store(target, packed), target.set(i32.add(target, i32.const(32)))]),
        record.set(
          i32.add(
            columns,
            i32.add(i32.shl(i32.shr_u(d, i32.const(3)), i32.const(7)), i32.shl(i32.and(d, i32.const(7)), i32.const(2))),
          ),
        ),
        v128.store(record, v128.and(f32x4.div(range, splat(255)), ranged)),
        v128.store(record, i32x4.sub(zeros, i32x4.splat(shift)), 32),
        v128.store(record, i32x4.sub(sum, i32x4.splat(i32.mul(shift, i32.shl(groups, i32.const(2))))), 64),
        v128.store(record, v128.zero, 96),
      ]),
    ];
  },
);

/**
 * (rows, cols, x, xStride, codes, records): exp of rows of scores less their maximum, as int8 codes 255 e - 128 rounded
 * to nearest even. The scale of a row is such that its codes sum to 1: a softmax. cols is a multiple of 4.
 */
export const softmaxQuantize = defineFunction(
  'softmax_quantize',
  ['i32', 'i32', 'i32', 'i32', 'i32', 'i32'],
  ([rows, cols, x, xStride, codes, records], local) => {
    const [row, bytes, at, total] = Array.from({ length: 4 }, () => local('i32'));
    const [largest, sum] = [local('v128'), local('v128')];
    const q = BLOCK.map(() => local('v128'));
    const { exp, results } = exponential(local, BLOCK.length);
    const [steps, offset] = [local.constant(splat(255)), local.constant(roundingBias(integers(-128)))];
    const packed = local('v128');
    const scores = (vector: number) => v128.load(i32.add(x, at), 16 * vector);
    const quantize = (vectors: Block): Statement[] => [
      ...exp(vectors.map((vector) => f32x4.sub(scores(vector), largest))),
      ...vectors.map((vector) => q[vector].set(roundAndAdd(f32x4.mul(results[vector], steps), offset))),
      packed.set(narrow(padded(q, vectors))),
      sum.set(i32x4.add(sum, sumBytes(packed))),
    ];
    const see = (vectors: Block): Statement[] => [
      largest.set(f32x4.pmax(largest, foldVectors(vectors.map(scores), f32x4.pmax))),
    ];
    return [
      bytes.set(i32.shl(cols, i32.const(2))),
      count(row, rows, 1, [
        largest.set(splat(Number.NEGATIVE_INFINITY)),
        ...forBlocks(local, at, bytes, see(BLOCK), see(ONE)),
        largest.set(f32x4.splat(maxLanes(largest))),
        sum.set(v128.zero),
        ...forBlocks(
          local,
          at,
          bytes,
          [...quantize(BLOCK), v128.store(codes, packed), codes.set(i32.add(codes, i32.const(16)))],
          [...quantize(ONE), i32.store(codes, i32x4.extract_lane(packed, 0)), codes.set(i32.add(codes, i32.const(4)))],
        ),
        // The sum of codes + 128.
        total.set(i32.add(sumIntegerLanes(sum), i32.shl(cols, i32.const(7)))),
        f32.store(records, f32.div(f32.const(1), f32.convert_i32_s(total))),
        i32.store(records, total, 4),
        i32.store(records, i32.const(-128), 8),
        records.set(i32.add(records, i32.const(16))),
        x.set(i32.add(x, xStride)),
      ]),
    ];
  },
);
