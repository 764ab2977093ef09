/**
 * out[i, j] = sum_k a[i, k] * b[k, j] + bias[j] in float32, k in order, a multiplication and an addition each
 * (no fused multiply-add: it rounds differently from host to host).
 *
 * a     float32 [m, k], rows `aStride` bytes apart; rows up to the next multiple of the tile must be readable
 * b     panels of 8 columns, `panelStride` bytes apart; in a panel row k lies `rowStride` bytes after row k - 1
 * bias  float32, n rounded up to 8; 0 for none
 * out   float32 [m, n], rows `outStride` bytes apart
 * tail  32 bytes of scratch
 * The strides let one kernel serve packed weights, attention scores and attention values.
 */
import { count, defineFunction, doWhile, when } from '../asm/function.ts';
import { type Expr, f32, f32x4, i32, type Statement, v128 } from '../asm/ops.ts';

type MultiplyAdd = (x: Expr<'v128'>, y: Expr<'v128'>, sum: Expr<'v128'>) => Expr<'v128'>;
const sumOfProduct: MultiplyAdd = (x, y, sum) => f32x4.add(sum, f32x4.mul(x, y));

/**
 * @param mr rows of a tile, at most 8
 * @param multiplyAdd measurements try others than the one that is the same everywhere
 */
export function gemmF32(name: string, mr: number, multiplyAdd = sumOfProduct) {
  return defineFunction(
    name,
    ['i32', 'i32', 'i32', 'i32', 'i32', 'i32', 'i32', 'i32', 'i32', 'i32', 'i32', 'i32'],
    ([m, n, depth, a, aStride, panels, panelStride, rowStride, bias, out, outStride, tail], local) => {
      const [i, j, k, b, row, left, c, panel] = Array.from({ length: 8 }, () => local('i32'));
      const rows = Array.from({ length: mr }, (_, r) => r);
      const pointers = rows.map(() => local('i32'));
      const acc = rows.map(() => [local('v128'), local('v128')] as const);
      const x = local('v128');
      const y = [local('v128'), local('v128')] as const;
      const biases = [local('v128'), local('v128')] as const;

      const store = (r: number): Statement => {
        const values = acc[r].map((sum, side) => f32x4.add(sum, biases[side]));
        const at = i32.shl(c, i32.const(2));
        return when(i32.lt_s(i32.add(i, i32.const(r)), m), [
          when(
            i32.ge_s(left, i32.const(8)),
            values.map((value, side) => v128.store(row, value, 16 * side)),
            [
              ...values.map((value, side) => v128.store(tail, value, 16 * side)),
              count(c, left, 1, [f32.store(i32.add(row, at), f32.load(i32.add(tail, at)))]),
            ],
          ),
          row.set(i32.add(row, outStride)),
        ]);
      };

      const biasAt = (side: number): Expr<'v128'> => v128.load(i32.add(bias, i32.shl(j, i32.const(2))), 16 * side);
      return [
        panel.set(panels),
        count(j, n, 8, [
          left.set(i32.sub(n, j)),
          when(
            bias,
            biases.map((register, side) => register.set(biasAt(side))),
            biases.map((register) => register.set(v128.zero)),
          ),
          count(i, m, mr, [
            ...rows.map((r) =>
              pointers[r].set(r === 0 ? i32.add(a, i32.mul(i, aStride)) : i32.add(pointers[r - 1], aStride)),
            ),
            ...acc.flat().map((sum) => sum.set(v128.zero)),
            b.set(panel),
            k.set(depth),
            doWhile(
              [
                ...y.map((register, side) => register.set(v128.load(b, 16 * side))),
                ...rows.flatMap((r) => [
                  x.set(v128.load32_splat(pointers[r])),
                  ...acc[r].map((sum, side) => sum.set(multiplyAdd(x, y[side], sum))),
                  pointers[r].set(i32.add(pointers[r], i32.const(4))),
                ]),
                b.set(i32.add(b, rowStride)),
                k.set(i32.sub(k, i32.const(1))),
              ],
              k,
            ),
            row.set(i32.add(out, i32.add(i32.mul(i, outStride), i32.shl(j, i32.const(2))))),
            ...rows.map(store),
          ]),
          panel.set(i32.add(panel, panelStride)),
        ]),
      ];
    },
  );
}
