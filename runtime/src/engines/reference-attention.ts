/** One head of attention in plain loops, in float and in int8. */
import {
  integerProduct,
  linearReference,
  nearestEven,
  quantizeReference,
  quantizeWeightsReference,
} from '@edge-dit/wasm-kernels';
import * as math from '../math.ts';

export interface Head {
  /** [tokens, depth]. */
  readonly q: Float32Array;
  /** [keys, depth]. */
  readonly k: Float32Array;
  readonly v: Float32Array;
  /** [keys], added to the scores. */
  readonly bias: Float32Array;
  readonly depth: number;
}

/** [tokens, depth]. */
export function floatAttention({ q, k, v, bias, depth }: Head): Float32Array {
  const keys = bias.length;
  const out = new Float32Array(q.length);
  const scores = new Float64Array(keys);
  for (let row = 0; row < q.length; row += depth) {
    for (let j = 0; j < keys; j++) {
      let sum = 0;
      for (let c = 0; c < depth; c++) sum += q[row + c] * k[j * depth + c];
      scores[j] = sum / Math.sqrt(depth) + bias[j];
    }
    const top = scores.reduce((a, b) => Math.max(a, b));
    let total = 0;
    for (let j = 0; j < keys; j++) total += scores[j] = math.exp(scores[j] - top);
    for (let c = 0; c < depth; c++) {
      let sum = 0;
      for (let j = 0; j < keys; j++) sum += scores[j] * v[j * depth + c];
      out[row + c] = sum / total;
    }
  }
  return out;
}

/**
 * Queries are int8 by token, keys are codes 0..255 by token; probabilities are codes round(255 e) of e = exp(score - max),
 * of which a row sums to 1; values are codes 0..255 by channel. Sums are of integers.
 */
export function codedAttention({ q, k, v, bias, depth }: Head): Float32Array {
  const keys = bias.length;
  const tokens = q.length / depth;
  const queries = quantizeReference(q, tokens, depth);
  const weights = quantizeWeightsReference(k, keys, depth);
  const products = integerProduct(queries, weights);
  const scale = Math.fround(1 / Math.sqrt(depth));
  const scores = Float32Array.from(products, (product, i) => {
    const [row, key] = [Math.floor(i / keys), i % keys];
    const step = Math.fround(Math.fround(weights.scales[key] * scale) * queries.scales[row]);
    return Math.fround(Math.fround(Math.fround(product) * step) + bias[key]);
  });
  const columns = Float32Array.from({ length: depth * keys }, (_, i) => v[(i % keys) * depth + Math.floor(i / keys)]);
  return linearReference(probabilities(scores, tokens, keys), quantizeWeightsReference(columns, depth, keys));
}

function probabilities(scores: Float32Array, rows: number, keys: number) {
  const out = {
    codes: new Int8Array(rows * keys),
    scales: new Float32Array(rows),
    zeros: new Int32Array(rows).fill(-128),
    sums: new Int32Array(rows),
  };
  for (let row = 0; row < rows; row++) {
    const line = scores.subarray(row * keys, (row + 1) * keys);
    const top = line.reduce((a, b) => Math.max(a, b));
    line.forEach((score, j) => {
      const code = nearestEven(Math.fround(Math.fround(math.exp(score - top)) * 255));
      out.codes[row * keys + j] = code - 128;
      out.sums[row] += code;
    });
    out.scales[row] = 1 / out.sums[row];
  }
  return out;
}
