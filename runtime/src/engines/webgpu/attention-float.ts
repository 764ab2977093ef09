/**
 * Attention in float32: a workgroup takes some queries of a head through all keys, block by block, with a running maximum
 * and sum (online softmax), so that no matrix of scores is ever in memory.
 */
import { range } from './gemm-tile.ts';
import { defineKernel, type Kernel, kernelName } from './kernel.ts';

export interface FloatAttention {
  /** Channels of a head, a multiple of 4. */
  readonly depth: number;
  /** Threads side by side share a query's keys and channels; those of a column have queries of their own. */
  readonly across: number;
  readonly down: number;
  /** Queries and keys of a thread in a block, the latter a multiple of 4. */
  readonly queries: number;
  readonly keys: number;
  readonly biased: boolean;
}

const MOST_THREADS = 128;

const strideOf = (depth: number) => (depth / 4) | 1;

export function floatAttentionBytes({ depth, across, down, queries, keys }: Omit<FloatAttention, 'biased'>): number {
  const [rows, block] = [down * queries, across * keys];
  return 16 * strideOf(depth) * (rows + block) + 4 * rows * (block + 4) + 4 * rows * (across + 2);
}

/** The threads and queries for heads of so many channels in so many bytes of workgroup memory. */
export function floatAttentionShape(depth: number, bytes: number): Omit<FloatAttention, 'biased' | 'depth'> {
  const across = divisorNear(depth / 4, 8);
  for (const queries of [4, 2, 1]) {
    for (let down = Math.floor(MOST_THREADS / across); down > 0; down--) {
      const shape = { across, down, queries, keys: 4 };
      if (floatAttentionBytes({ depth, ...shape }) <= bytes) return shape;
    }
  }
  return { across, down: 1, queries: 1, keys: 4 };
}

/** The divisor of `count` that is nearest to `wanted`, at most 32. */
export function divisorNear(count: number, wanted: number): number {
  const divisors = range(Math.min(count, 32))
    .map((i) => i + 1)
    .filter((divisor) => count % divisor === 0);
  const distance = (a: number) => Math.max(a / wanted, wanted / a);
  return divisors.reduce((best, divisor) => (distance(divisor) < distance(best) ? divisor : best));
}

export function floatAttention(options: FloatAttention): Kernel {
  const { depth, across, down, queries, keys, biased } = options;
  const threads = across * down;
  const [rows, block] = [down * queries, across * keys];
  const fours = depth / 4;
  const stride = strideOf(depth);
  const each = fours / across;
  const scoreStride = block / 4 + 1;
  const eachRow = (body: (i: number) => string) => range(queries).map(body).join('\n    ');
  const pairs = (body: (i: number, j: number) => string, second: number) =>
    range(queries)
      .flatMap((i) => range(second).map((j) => body(i, j)))
      .join(' ');
  const row = (i: number) => `(ty + ${i * down}u)`;
  /** Vectors of a block of keys or values that a thread fetches before they are wanted, and then puts where all see them. */
  const fetched = range(Math.ceil((block * fours) / threads));
  const slot = (i: number) => `let i = min(t + ${i * threads}u, ${block * fours - 1}u);`;
  const fetch = (tensor: string, first: string) =>
    fetched
      .map((i) => {
        const token = `min(${first} + i / ${fours}u, p.keys - 1u)`;
        return `{ ${slot(i)} f${i} = ${tensor}[${tensor}0 + ${token} * p.width + i % ${fours}u]; }`;
      })
      .join('\n    ');
  const put = fetched
    .map((i) => `{ ${slot(i)} given[(i / ${fours}u) * ${stride}u + i % ${fours}u] = f${i}; }`)
    .join('\n    ');
  return defineKernel({
    name: kernelName('attention-float', { ...options }),
    parameters: { tokens: 'u32', keys: 'u32', width: 'u32', qAt: 'u32', kAt: 'u32', vAt: 'u32', scale: 'f32' },
    buffers: {
      q: 'array<vec4<f32>>',
      k: 'array<vec4<f32>>',
      v: 'array<vec4<f32>>',
      ...(biased ? { bias: 'array<f32>' } : {}),
      out: 'rw array<vec4<f32>>',
    },
    body: `
var<workgroup> asked: array<vec4<f32>, ${rows * stride}>;
var<workgroup> given: array<vec4<f32>, ${block * stride}>;
var<workgroup> weights: array<vec4<f32>, ${rows * scoreStride}>;
var<workgroup> parts: array<f32, ${rows * across}>;
var<workgroup> tops: array<f32, ${rows}>;
var<workgroup> shrinks: array<f32, ${rows}>;
@compute @workgroup_size(${threads})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) t: u32) {
  let tx = t % ${across}u;
  let ty = t / ${across}u;
  let first = group.x * ${rows}u;
  let head = group.y * ${fours}u;
  let q0 = p.qAt + group.z * p.tokens * p.width + head;
  let k0 = p.kAt + group.z * p.keys * p.width + head;
  let v0 = p.vAt + group.z * p.keys * p.width + head;
  for (var i = t; i < ${rows * fours}u; i += ${threads}u) {
    let token = min(first + i / ${fours}u, p.tokens - 1u);
    asked[(i / ${fours}u) * ${stride}u + i % ${fours}u] = q[q0 + token * p.width + i % ${fours}u] * p.scale;
  }
  ${fetched.map((i) => `var f${i}: vec4<f32>;`).join(' ')}
  ${fetch('k', '0u')}
  for (var i = t; i < ${rows}u; i += ${threads}u) { tops[i] = -1e30; }
  ${pairs((i, j) => `var o${i}_${j} = vec4<f32>();`, each)}
  ${eachRow((i) => `var sum${i} = 0.0;`)}
  for (var key0 = 0u; key0 < p.keys; key0 += ${block}u) {
    ${put}
    workgroupBarrier();
    ${fetch('v', 'key0')}
    ${range(keys)
      .map((j) => {
        const key = `key0 + tx + ${j * across}u`;
        const bias = biased ? `bias[group.z * p.keys + ${key}]` : '0.0';
        return `var b${j} = -1e30; if (${key} < p.keys) { b${j} = ${bias}; }`;
      })
      .join('\n    ')}
    ${pairs((i, j) => `var s${i}_${j} = 0.0;`, keys)}
    for (var c = 0u; c < ${fours}u; c++) {
      ${range(queries)
        .map((i) => `let q${i} = asked[${row(i)} * ${stride}u + c];`)
        .join(' ')}
      ${range(keys)
        .map((j) => `let k${j} = given[(tx + ${j * across}u) * ${stride}u + c];`)
        .join(' ')}
      ${pairs((i, j) => `s${i}_${j} += dot(q${i}, k${j});`, keys)}
    }
    ${pairs((i, j) => `s${i}_${j} += b${j};`, keys)}
    ${eachRow((i) => {
      const top = range(keys)
        .map((j) => `s${i}_${j}`)
        .reduce((a, b) => `max(${a}, ${b})`);
      return `parts[${row(i)} * ${across}u + tx] = ${top};`;
    })}
    workgroupBarrier();
    for (var i = t; i < ${rows}u; i += ${threads}u) {
      var top = tops[i];
      for (var j = 0u; j < ${across}u; j++) { top = max(top, parts[i * ${across}u + j]); }
      shrinks[i] = exp(tops[i] - top);
      tops[i] = top;
    }
    ${put}
    workgroupBarrier();
    ${fetch('k', `(key0 + ${block}u)`)}
    ${eachRow((i) => {
      const weights = range(keys).map((j) => {
        const key = `(tx + ${j * across}u)`;
        return `{ let e = exp(s${i}_${j} - top); sum${i} += e; weights[${row(i)} * ${scoreStride}u + ${key} / 4u][${key} % 4u] = e; }`;
      });
      const shrink = range(each).map((j) => `o${i}_${j} *= shrink;`);
      return `{ let top = tops[${row(i)}]; let shrink = shrinks[${row(i)}]; sum${i} *= shrink; ${shrink.join(' ')} ${weights.join(' ')} }`;
    })}
    workgroupBarrier();
    for (var j = 0u; j < ${block / 4}u; j++) {
      ${range(queries)
        .map((i) => `let w${i} = weights[${row(i)} * ${scoreStride}u + j];`)
        .join(' ')}
      ${range(4)
        .map((key) => {
          const values = range(each).map(
            (c) => `let v${c} = given[(4u * j + ${key}u) * ${stride}u + tx + ${c * across}u];`,
          );
          const sums = pairs((i, c) => `o${i}_${c} += w${i}.${'xyzw'[key]} * v${c};`, each);
          return `{ ${values.join(' ')} ${sums} }`;
        })
        .join('\n      ')}
    }
    workgroupBarrier();
  }
  ${eachRow((i) => `parts[${row(i)} * ${across}u + tx] = sum${i};`)}
  workgroupBarrier();
  ${eachRow((i) => {
    const stores = range(each).map(
      (c) =>
        `out[(group.z * p.tokens + first + ${row(i)}) * p.width + head + tx + ${c * across}u] = o${i}_${c} / total;`,
    );
    return `if (first + ${row(i)} < p.tokens) {
      var total = 0.0;
      for (var j = 0u; j < ${across}u; j++) { total += parts[${row(i)} * ${across}u + j]; }
      ${stores.join(' ')}
    }`;
  })}
}`,
  });
}
