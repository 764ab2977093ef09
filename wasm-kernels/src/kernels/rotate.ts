/**
 * The Hadamard rotation of rows, but for its factor: rows of x times `factors`, times H_order (x) H_block (hadamard.ts).
 * First the butterflies of every block of `block` consecutive channels, a power of two of at least 4, half by half from
 * neighbours up; then, where `order` is not 1, sums over the blocks in their order. Additions and subtractions only, so
 * the bits are the same everywhere.
 */
import { count, defineFunction, doWhile, when } from '../asm/function.ts';
import { type Expr, f32x4, i8x16, i32, type Statement, v128 } from '../asm/ops.ts';
import { forBytes } from './lanes.ts';

/** Blocks of the result that are summed at once. */
const OUTPUTS = [0, 1, 2, 3] as const;

/** Bytes of a shuffle that takes lane l of the first vector for l below 4, lane l - 4 of the second for others. */
const lanes = (...picked: number[]) => picked.flatMap((lane) => [0, 1, 2, 3].map((byte) => 4 * lane + byte));

/**
 * (rows, order, block, x, factors, flips, line, out): `factors` [order block]; `flips` [order, order] is -0 where H_order
 * is -1, else 0; `line` [order block] is scratch; `out` may be x.
 */
export const rotateRows = defineFunction(
  'rotate_rows',
  ['i32', 'i32', 'i32', 'i32', 'i32', 'i32', 'i32', 'i32'],
  ([rows, order, block, x, factors, flips, line, out], local) => {
    const [row, at, work, bytes, half, blockBytes, base, end] = Array.from({ length: 8 }, () => local('i32'));
    const [i, j, from, flip] = Array.from({ length: 4 }, () => local('i32'));
    const v = local('v128');
    const w = local('v128');
    const sums = OUTPUTS.map(() => local('v128'));
    const opposite = i32.add(i32.add(base, half), at);
    /** Butterflies within a vector: lane l of the result is lane first[l] of v plus lane second[l] of v and -v. */
    const within = (first: number[], second: number[]) =>
      v.set(f32x4.add(i8x16.shuffle(v, v, lanes(...first)), i8x16.shuffle(v, f32x4.neg(v), lanes(...second))));
    const butterflies: Statement[] = [
      ...forBytes(at, bytes, 16, [
        v.set(f32x4.mul(v128.load(i32.add(x, at)), v128.load(i32.add(factors, at)))),
        within([0, 0, 2, 2], [1, 5, 3, 7]),
        within([0, 1, 0, 1], [2, 3, 6, 7]),
        v128.store(i32.add(work, at), v),
      ]),
      half.set(i32.const(16)),
      end.set(i32.add(work, bytes)),
      when(i32.lt_s(half, blockBytes), [
        doWhile(
          [
            base.set(work),
            doWhile(
              [
                ...forBytes(at, half, 16, [
                  v.set(v128.load(i32.add(base, at))),
                  w.set(v128.load(opposite)),
                  v128.store(i32.add(base, at), f32x4.add(v, w)),
                  v128.store(opposite, f32x4.sub(v, w)),
                ]),
                base.set(i32.add(base, i32.shl(half, i32.const(1)))),
              ],
              i32.ne(base, end),
            ),
            half.set(i32.shl(half, i32.const(1))),
          ],
          i32.lt_s(half, blockBytes),
        ),
      ]),
    ];
    const addBlock = [
      v.set(v128.load(from)),
      ...OUTPUTS.map((o) => sums[o].set(f32x4.add(sums[o], v128.xor(v, v128.load32_splat(flip, 4 * o))))),
      from.set(i32.add(from, blockBytes)),
      flip.set(i32.add(flip, i32.shl(order, i32.const(2)))),
    ];
    const target = (o: number): Expr<'i32'> => i32.add(i32.add(out, at), i32.mul(i32.add(j, i32.const(o)), blockBytes));
    const acrossBlocks: Statement[] = forBytes(at, blockBytes, 16, [
      count(j, order, OUTPUTS.length, [
        ...sums.map((sum) => sum.set(v128.zero)),
        from.set(i32.add(line, at)),
        flip.set(i32.add(flips, i32.shl(j, i32.const(2)))),
        count(i, order, 1, addBlock),
        ...OUTPUTS.map((o) => v128.store(target(o), sums[o])),
      ]),
    ]);
    return [
      blockBytes.set(i32.shl(block, i32.const(2))),
      bytes.set(i32.mul(order, blockBytes)),
      count(row, rows, 1, [
        work.set(out),
        when(i32.ne(order, i32.const(1)), [work.set(line)]),
        ...butterflies,
        when(i32.ne(order, i32.const(1)), acrossBlocks),
        x.set(i32.add(x, bytes)),
        out.set(i32.add(out, bytes)),
      ]),
    ];
  },
);
