/**
 * Float attention over one block of keys after another (online softmax, Milakov and Gimelshein, arXiv 1805.02867; in blocks
 * as in FlashAttention, arXiv 2205.14135), so that scores of few keys exist at a time, whose products stay in the caches.
 * Between blocks, each query has a state of 16 bytes: the largest score until now, the sum of exp(score - largest), and
 * what the last block made of the outputs before it (`kept`) and of its own (`added`). It begins as -Infinity and 0; what
 * lies in the last two does not matter.
 */
import { count, defineFunction, when } from '../asm/function.ts';
import { f32, f32x4, i32, type Statement, v128 } from '../asm/ops.ts';
import { exponential } from './exponential.ts';
import { BLOCK, forBlocks, forBytes, maxLanes, ONE, splat, sumLanes } from './lanes.ts';

const ATTENTION_STATE = { bytes: 16, largest: 0, sum: 4, kept: 8, added: 12 } as const;

/**
 * (rows, cols, x, bias, scale, states, last): x becomes exp(x scale + bias - largest), in place; -10000 or -Infinity in
 * bias hides. `last` is 1 with the last block, after which the probabilities of a row sum to 1, else 0.
 */
export const softmaxBlock = defineFunction(
  'softmax_block',
  ['i32', 'i32', 'i32', 'i32', 'f32', 'i32', 'i32'],
  ([rows, cols, x, bias, scale, states, last], local) => {
    const [row, bytes, at] = Array.from({ length: 3 }, () => local('i32'));
    const [v, factor, largest, sum] = Array.from({ length: 4 }, () => local('v128'));
    const [before, total] = [local('f32'), local('f32')];
    const { exp, results } = exponential(local, BLOCK.length);
    const exponentials = (vectors: readonly number[]): Statement[] => [
      ...exp(vectors.map((vector) => f32x4.sub(v128.load(i32.add(x, at), 16 * vector), largest))),
      ...vectors.flatMap((vector) => [
        sum.set(f32x4.add(sum, results[vector])),
        v128.store(i32.add(x, at), results[vector], 16 * vector),
      ]),
    ];
    const kept = f32x4.extract_lane(results[0], 0);
    return [
      bytes.set(i32.shl(cols, i32.const(2))),
      factor.set(f32x4.splat(scale)),
      count(row, rows, 1, [
        before.set(f32.load(states, ATTENTION_STATE.largest)),
        largest.set(f32x4.splat(before)),
        ...forBytes(at, bytes, 16, [
          v.set(f32x4.add(f32x4.mul(v128.load(i32.add(x, at)), factor), v128.load(i32.add(bias, at)))),
          largest.set(f32x4.pmax(largest, v)),
          v128.store(i32.add(x, at), v),
        ]),
        largest.set(f32x4.splat(maxLanes(largest))),
        sum.set(v128.zero),
        ...forBlocks(local, at, bytes, exponentials(BLOCK), exponentials(ONE)),
        ...exp([f32x4.sub(f32x4.splat(before), largest)]),
        total.set(f32.add(f32.mul(f32.load(states, ATTENTION_STATE.sum), kept), sumLanes(sum))),
        f32.store(states, f32x4.extract_lane(largest, 0), ATTENTION_STATE.largest),
        f32.store(states, total, ATTENTION_STATE.sum),
        sum.set(splat(1)),
        when(last, [sum.set(f32x4.splat(f32.div(f32.const(1), total)))]),
        f32.store(states, f32x4.extract_lane(f32x4.mul(results[0], sum), 0), ATTENTION_STATE.kept),
        f32.store(states, f32x4.extract_lane(sum, 0), ATTENTION_STATE.added),
        states.set(i32.add(states, i32.const(ATTENTION_STATE.bytes))),
        x.set(i32.add(x, bytes)),
      ]),
    ];
  },
);

/** (rows, cols, y, states, out, outStride): out becomes out * kept + y * added, row by row; y [rows, cols]. Where `kept` is 0, `out` is not read. */
export const addBlock = defineFunction(
  'add_block',
  ['i32', 'i32', 'i32', 'i32', 'i32', 'i32'],
  ([rows, cols, y, states, out, outStride], local) => {
    const [row, bytes, at] = Array.from({ length: 3 }, () => local('i32'));
    const [kept, added, known] = Array.from({ length: 3 }, () => local('v128'));
    const old = v128.and(f32x4.mul(v128.load(i32.add(out, at)), kept), known);
    const more = f32x4.mul(v128.load(i32.add(y, at)), added);
    return [
      bytes.set(i32.shl(cols, i32.const(2))),
      count(row, rows, 1, [
        kept.set(v128.load32_splat(states, ATTENTION_STATE.kept)),
        added.set(v128.load32_splat(states, ATTENTION_STATE.added)),
        // Before the first block there may be anything, not only numbers.
        known.set(f32x4.gt(kept, v128.zero)),
        ...forBytes(at, bytes, 16, [v128.store(i32.add(out, at), f32x4.add(old, more))]),
        y.set(i32.add(y, bytes)),
        states.set(i32.add(states, i32.const(ATTENTION_STATE.bytes))),
        out.set(i32.add(out, outStride)),
      ]),
    ];
  },
);
