/**
 * Attention in float32: a workgroup takes some queries of a head through all keys, block by block, with a running maximum
 * and sum (online softmax), so that no matrix of scores is ever in memory.
 */
import { range } from './gemm-tile.ts';
import { defineKernel, type Kernel, kernelFamily, kernelName } from './kernel.ts';

export interface FloatAttention {
  /** Channels of a head, a multiple of 4. */
  readonly depth: number;
  /** Threads side by side share a query's keys and channels; those of a column have queries of their own. */
  readonly across: number;
  readonly down: number;
  /** Queries and keys of a thread in a block, the latter a multiple of 4. */
  readonly queries: number;
  readonly keys: number;
  /** Queries stay in the GPU's memory, and its caches, instead of in workgroup memory. */
  readonly afar?: boolean;
  readonly biased: boolean;
}

type Shape = Omit<FloatAttention, 'biased' | 'depth'>;

/** In vec4, odd, so that equal channels of consecutive rows lie in different banks. */
const strideOf = (depth: number) => (depth / 4) | 1;

export function floatAttentionBytes({ depth, across, down, queries, keys, afar }: Shape & { depth: number }): number {
  const [rows, block] = [down * queries, across * keys];
  return 16 * strideOf(depth) * ((afar ? 0 : rows) + block) + 4 * rows * (block + 4) + 4 * rows * across;
}

interface Candidate {
  readonly queries: number;
  readonly keys: number;
  /** At most, and at least half as many. */
  readonly threads: number;
  /** Taken for so many workgroups or more. */
  readonly workgroups: number;
  /** Keys of a block at most. */
  readonly block: number;
  readonly afar?: boolean;
}

/** Of fewer keys queries are better near. */
const AFAR_KEYS = 256;

/**
 * By `npm run tune:webgpu`: large tiles are read least; queries afar leave workgroup memory to more workgroups; fewer queries
 * a thread keep more of a GPU busy with few.
 */
export const CANDIDATES: readonly Candidate[] = [
  { queries: 6, keys: 4, threads: 128, workgroups: 768, block: 24, afar: true },
  { queries: 4, keys: 8, threads: 192, workgroups: 256, block: 48, afar: true },
  { queries: 4, keys: 4, threads: 128, workgroups: 512, block: 128, afar: true },
  { queries: 4, keys: 8, threads: 96, workgroups: 256, block: 48 },
  { queries: 4, keys: 4, threads: 128, workgroups: 256, block: 128 },
  { queries: 2, keys: 8, threads: 128, workgroups: 0, block: 64 },
  { queries: 2, keys: 4, threads: 128, workgroups: 0, block: 128 },
  { queries: 1, keys: 4, threads: 128, workgroups: 0, block: 128 },
];

/**
 * The threads and queries for heads of so many channels in so many bytes of workgroup memory.
 * @param rows queries of all heads and samples together
 * @param keys of a head
 */
export function floatAttentionShape(depth: number, bytes: number, rows: number, keys: number): Shape {
  const across = acrossOf(depth / 4);
  for (const candidate of CANDIDATES) {
    const { queries, keys: own, block, afar } = candidate;
    const most = Math.max(1, Math.floor(candidate.threads / across));
    const half = (own / 2) * across;
    if (own * across > block || (own > 4 && keys <= half) || (afar && keys < AFAR_KEYS)) continue;
    if (rows < candidate.workgroups * most * queries) continue;
    const shape = shapeOf(candidate, depth, bytes);
    if (shape) return shape;
  }
  return { across, down: 1, queries: 1, keys: 4 };
}

/** As many threads of a candidate as have room, if that is half of them at least. */
export function shapeOf(
  { queries, keys, threads, afar = false }: Candidate,
  depth: number,
  bytes: number,
): Shape | undefined {
  const across = acrossOf(depth / 4);
  const most = Math.max(1, Math.floor(threads / across));
  for (let down = most; 2 * down >= most; down--) {
    const shape = { across, down, queries, keys, afar };
    if (floatAttentionBytes({ depth, ...shape }) <= bytes) return shape;
  }
  return undefined;
}

/** At most 8 where that can be: of more threads side by side, some would meet in a bank of workgroup memory. */
export function acrossOf(fours: number): number {
  const few = [8, 7, 6, 5, 4].find((count) => fours % count === 0);
  return few ?? divisorNear(fours, 8);
}

/** The divisor of `count` that is nearest to `wanted`, at most 32. */
function divisorNear(count: number, wanted: number): number {
  const divisors = range(Math.min(count, 32))
    .map((i) => i + 1)
    .filter((divisor) => count % divisor === 0);
  const distance = (a: number) => Math.max(a / wanted, wanted / a);
  return divisors.reduce((best, divisor) => (distance(divisor) < distance(best) ? divisor : best));
}

/**
 * Arrays in workgroup memory go by row and place in the row: hosts hold every index within its array, which costs nothing
 * where an index does not change in a loop or is seen to be small.
 */
export const floatAttention = kernelFamily(defineFloatAttention);

function defineFloatAttention(options: FloatAttention): Kernel {
  const { depth, across, down, queries, keys, afar, biased } = options;
  const threads = across * down;
  const [rows, block] = [down * queries, across * keys];
  const fours = depth / 4;
  const stride = strideOf(depth);
  const each = fours / across;
  const eachRow = (body: (i: number) => string) => range(queries).map(body).join('\n    ');
  const pairs = (body: (i: number, j: number) => string, second: number) =>
    range(queries)
      .flatMap((i) => range(second).map((j) => body(i, j)))
      .join(' ');
  const row = (i: number) => `(ty + ${i * down}u)`;
  /** A loop of so many rounds, several of them at a time. */
  const repeat = (count: number, name: string, several: readonly number[], body: (at: string) => string) => {
    const times = several.find((few) => count % few === 0) ?? 1;
    const rounds = range(times).map((i) => `{ ${body(`(${name} + ${i}u)`)} }`);
    return `for (var ${name} = 0u; ${name} < ${count}u; ${name} += ${times}u) {
      ${rounds.join('\n      ')}
    }`;
  };
  /** The key of a block that lies in row `r` of keys: of four keys of a thread, four rows that are far apart. */
  const keyOf = (r: string) =>
    `(${r} / ${4 * across}u * ${4 * across}u + ${r} % ${across}u * 4u + ${r} / ${across}u % 4u)`;
  /** Vectors of a block of keys or values that a thread fetches, and puts where all see them once nobody reads what is there. */
  const fetched = range(Math.ceil((block * fours) / threads));
  const slot = (i: number) => `let i = min(t + ${i * threads}u, ${block * fours - 1}u);`;
  const fetch = (tensor: string, first: string) =>
    fetched
      .map((i) => {
        const key = tensor === 'k' ? keyOf(`(i / ${fours}u)`) : `i / ${fours}u`;
        const token = `min(${first} + ${key}, p.keys - 1u)`;
        return `{ ${slot(i)} f${i} = ${tensor}[${tensor}0 + ${token} * p.width + i % ${fours}u]; }`;
      })
      .join('\n    ');
  const put = fetched.map((i) => `{ ${slot(i)} given[i / ${fours}u][i % ${fours}u] = f${i}; }`).join('\n    ');
  const multiply = (i: number, j: number) => [...'xyzw'].map((c) => `s${i}_${j} += q${i}.${c} * k.${c};`).join(' ');
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
${afar ? '' : `var<workgroup> asked: array<array<vec4<f32>, ${stride}>, ${rows}>;`}
var<workgroup> given: array<array<vec4<f32>, ${stride}>, ${block}>;
var<workgroup> weights: array<array<vec4<f32>, ${block / 4 + 1}>, ${rows}>;
var<workgroup> parts: array<array<f32, ${across}>, ${rows}>;
@compute @workgroup_size(${threads})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) t: u32) {
  let tx = t % ${across}u;
  let ty = t / ${across}u;
  let first = group.x * ${rows}u;
  let head = group.y * ${fours}u;
  let q0 = p.qAt + group.z * p.tokens * p.width + head;
  let k0 = p.kAt + group.z * p.keys * p.width + head;
  let v0 = p.vAt + group.z * p.keys * p.width + head;
  ${
    afar
      ? eachRow((i) => `let at${i} = q0 + min(first + ${row(i)}, p.tokens - 1u) * p.width;`)
      : `for (var i = t; i < ${rows * fours}u; i += ${threads}u) {
    let token = min(first + i / ${fours}u, p.tokens - 1u);
    asked[i / ${fours}u][i % ${fours}u] = q[q0 + token * p.width + i % ${fours}u] * p.scale;
  }`
  }
  ${fetched.map((i) => `var f${i}: vec4<f32>;`).join(' ')}
  ${fetch('k', '0u')}
  ${pairs((i, j) => `var o${i}_${j} = vec4<f32>();`, each)}
  ${eachRow((i) => `var sum${i} = 0.0; var top${i} = -1e30;`)}
  for (var key0 = 0u; key0 < p.keys; key0 += ${block}u) {
    ${put}
    workgroupBarrier();
    ${pairs((i, j) => `var s${i}_${j} = 0.0;`, keys)}
    ${repeat(
      fours,
      'c',
      [6, 4, 3, 2],
      (c) => `
      ${range(queries)
        .map((i) => `let q${i} = ${afar ? `q[at${i} + ${c}] * p.scale` : `asked[${row(i)}][${c}]`};`)
        .join(' ')}
      ${range(keys)
        .map((j) => {
          const sums = range(queries).map((i) => multiply(i, j));
          return `{ let k = given[tx + ${j * across}u][${c}]; ${sums.join(' ')} }`;
        })
        .join('\n      ')}`,
    )}
    ${range(keys)
      .map((j) => {
        const key = `key0 + 4u * tx + ${Math.floor(j / 4) * 4 * across + (j % 4)}u`;
        const bias = biased ? `bias[group.z * p.keys + ${key}]` : '0.0';
        const sums = range(queries).map((i) => `s${i}_${j} += b;`);
        return `{ var b = -1e30; if (${key} < p.keys) { b = ${bias}; } ${sums.join(' ')} }`;
      })
      .join('\n    ')}
    ${eachRow((i) => {
      const top = range(keys)
        .map((j) => `s${i}_${j}`)
        .reduce((a, b) => `max(${a}, ${b})`);
      return `parts[${row(i)}][tx] = ${top};`;
    })}
    ${fetch('v', 'key0')}
    workgroupBarrier();
    ${put}
    ${eachRow((i) => {
      const top = range(across).reduce((most, j) => `max(${most}, parts[${row(i)}][${j}])`, `top${i}`);
      const shrunk = range(each).map((j) => `o${i}_${j} *= shrink;`);
      const weights = range(keys / 4).map((four) => {
        const values = range(4).map((j) => `exp(s${i}_${4 * four + j} - top)`);
        return `{ let e = vec4<f32>(${values.join(', ')}); sum${i} += dot(e, vec4<f32>(1.0)); weights[${row(i)}][tx + ${four * across}u] = e; }`;
      });
      return `{ let top = ${top}; let shrink = exp(top${i} - top); top${i} = top; sum${i} *= shrink;
      ${shrunk.join(' ')} ${weights.join(' ')} }`;
    })}
    workgroupBarrier();
    ${repeat(
      block / 4,
      'j',
      [2],
      (j) => `
      ${range(queries)
        .map((i) => `let w${i} = weights[${row(i)}][${j}];`)
        .join(' ')}
      ${range(4)
        .map((key) => {
          const values = range(each).map((c) => `let v${c} = given[4u * ${j} + ${key}u][tx + ${c * across}u];`);
          const sums = pairs((i, c) => `o${i}_${c} += w${i}.${'xyzw'[key]} * v${c};`, each);
          return `{ ${values.join(' ')} ${sums} }`;
        })
        .join('\n      ')}`,
    )}
    ${fetch('k', `(key0 + ${block}u)`)}
    workgroupBarrier();
  }
  ${eachRow((i) => `parts[${row(i)}][tx] = sum${i};`)}
  workgroupBarrier();
  ${eachRow((i) => {
    const total = range(across).map((j) => `parts[${row(i)}][${j}]`);
    const stores = range(each).map(
      (c) =>
        `out[(group.z * p.tokens + first + ${row(i)}) * p.width + head + tx + ${c * across}u] = o${i}_${c} / total;`,
    );
    return `if (first + ${row(i)} < p.tokens) { let total = ${total.join(' + ')}; ${stores.join(' ')} }`;
  })}
}`,
  });
}
