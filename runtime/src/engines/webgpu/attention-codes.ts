/**
 * Attention in int8, as FORMAT.md has it: both products are exact sums of integers. Queries and keys become codes by
 * token, values by channel; then a workgroup takes some queries of a head through all keys twice, for the largest score of
 * each, and for the codes of the probabilities that it decides and their product with the values.
 *
 * A row of codes of a head has a record (scale, zero, sum, nothing) in vec4, and words of four codes each: of queries and
 * keys four channels of a token, of values four tokens of a channel. Words lie in vec4, of four tokens or four channels: so
 * threads move them four at a time, and find those of their own queries, keys or channels side by side.
 */
import { acrossOf } from './attention-float.ts';
import { dots } from './codes.ts';
import { range } from './gemm-tile.ts';
import { defineKernel, type Kernel, kernelFamily, kernelName } from './kernel.ts';
import { DIVIDE, LEAST_RANGE } from './row-passes.ts';

export const HEAD_THREADS = 64;

interface HeadRows {
  readonly depth: number;
  readonly kind: 'queries' | 'keys';
}

/** Codes of rows of a head, a thread a row: queries as activations are, keys as weights, less 128. */
export const headRows = kernelFamily(defineHeadRows);

function defineHeadRows({ depth, kind }: HeadRows): Kernel {
  const fours = depth / 4;
  const queries = kind === 'queries';
  const code = queries
    ? 'clamp(vec4<i32>(round(v * factor)) + zero, vec4<i32>(-128), vec4<i32>(127))'
    : 'clamp(vec4<i32>(round(v * factor)) + zero, vec4<i32>(0), vec4<i32>(255)) - 128';
  return defineKernel({
    name: kernelName('attention-rows', { depth, kind }),
    /** A row is a token of a head: `count` of them, token by token, then head by head. */
    parameters: { count: 'u32', tokens: 'u32', heads: 'u32', xAt: 'u32', scale: 'f32' },
    buffers: { x: 'array<vec4<f32>>', records: 'rw array<vec4<u32>>', codes: 'rw array<u32>' },
    body: `
${DIVIDE}
@compute @workgroup_size(${HEAD_THREADS})
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let row = id.x + id.y * groups.x * ${HEAD_THREADS}u;
  if (row >= p.count) { return; }
  let token = row % p.tokens;
  let head = row / p.tokens;
  let x0 = p.xAt + (((head / p.heads) * p.tokens + token) * p.heads + head % p.heads) * ${fours}u;
  let code0 = ((head * ((p.tokens + 3u) / 4u) + token / 4u) * ${fours}u) * 4u + token % 4u;
  var low = vec4<f32>();
  var high = vec4<f32>();
  for (var i = 0u; i < ${fours}u; i++) { let v = x[x0 + i]; low = min(low, v); high = max(high, v); }
  let least = min(min(low.x, low.y), min(low.z, low.w));
  let range = max(max(high.x, high.y), max(high.z, high.w)) - least;
  var factor = 0.0;
  var scale = 0.0;
  var zero = ${queries ? '-128' : '0'};
  if (range > ${LEAST_RANGE}) {
    factor = divide(255.0, range);
    scale = divide(range, 255.0);
    zero = i32(round(${queries ? '-128.0 - ' : '-'}exact(least * factor)));
  }
  var sum = 0;
  for (var i = 0u; i < ${fours}u; i++) {
    let v = x[x0 + i];
    let q = ${code};
    sum += q.x + q.y + q.z + q.w;
    let bytes = bitcast<vec4<u32>>(q) & vec4<u32>(255u);
    codes[code0 + 4u * i] = bytes.x | (bytes.y << 8u) | (bytes.z << 16u) | (bytes.w << 24u);
  }
  ${
    queries
      ? `records[row] = vec4<u32>(bitcast<u32>(scale), bitcast<u32>(zero), bitcast<u32>(sum - zero * ${depth}), 0u);`
      : 'records[row] = vec4<u32>(bitcast<u32>(scale * p.scale), bitcast<u32>(zero - 128), bitcast<u32>(sum), 0u);'
  }
}`,
  });
}

const VALUE_THREADS = 128;

/** Codes of values, a workgroup four channels: by channel over all keys, 0 beyond the last. */
export const VALUE_COLUMNS: Kernel = defineKernel({
  name: 'attention-values',
  /** `vectors` of a token; `words` of a channel. */
  parameters: { keys: 'u32', vectors: 'u32', xAt: 'u32', words: 'u32' },
  buffers: { x: 'array<vec4<f32>>', records: 'rw array<vec4<u32>>', codes: 'rw array<vec4<u32>>' },
  body: `
${DIVIDE}
var<workgroup> lows: array<vec4<f32>, ${VALUE_THREADS}>;
var<workgroup> highs: array<vec4<f32>, ${VALUE_THREADS}>;
var<workgroup> sums: array<vec4<i32>, ${VALUE_THREADS}>;
@compute @workgroup_size(${VALUE_THREADS})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) t: u32) {
  let x0 = p.xAt + group.y * p.keys * p.vectors + group.x;
  var low = vec4<f32>();
  var high = vec4<f32>();
  for (var i = t; i < p.keys; i += ${VALUE_THREADS}u) {
    let v = x[x0 + i * p.vectors];
    low = min(low, v);
    high = max(high, v);
  }
  lows[t] = low;
  highs[t] = high;
  for (var half = ${VALUE_THREADS / 2}u; half > 0u; half = half / 2u) {
    workgroupBarrier();
    if (t < half) { lows[t] = min(lows[t], lows[t + half]); highs[t] = max(highs[t], highs[t + half]); }
  }
  workgroupBarrier();
  low = lows[0];
  high = highs[0];
  var factor = vec4<f32>();
  var scale = vec4<f32>();
  var zero = vec4<i32>();
  for (var c = 0u; c < 4u; c++) {
    let range = high[c] - low[c];
    if (range > ${LEAST_RANGE}) {
      factor[c] = divide(255.0, range);
      scale[c] = divide(range, 255.0);
      zero[c] = i32(round(-exact(low[c] * factor[c])));
    }
  }
  let channel = (group.y * p.vectors + group.x) * 4u;
  var sum = vec4<i32>();
  for (var word = t; word < p.words; word += ${VALUE_THREADS}u) {
    var packed = vec4<u32>();
    for (var i = 0u; i < 4u; i++) {
      let key = word * 4u + i;
      if (key < p.keys) {
        let q = clamp(vec4<i32>(round(x[x0 + key * p.vectors] * factor)) + zero, vec4<i32>(0), vec4<i32>(255));
        sum += q;
        packed |= bitcast<vec4<u32>>(q) << vec4<u32>(8u * i);
      }
    }
    codes[(channel / 4u) * p.words + word] = packed;
  }
  sums[t] = sum;
  for (var half = ${VALUE_THREADS / 2}u; half > 0u; half = half / 2u) {
    workgroupBarrier();
    if (t < half) { sums[t] += sums[t + half]; }
  }
  workgroupBarrier();
  if (t < 4u) {
    records[channel + t] = vec4<u32>(bitcast<u32>(scale[t]), bitcast<u32>(zero[t]), bitcast<u32>(sums[0][t]), 0u);
  }
}`,
});

export interface CodedAttention {
  /** Channels of a head, a multiple of 4. */
  readonly depth: number;
  /** Threads side by side share a query's keys and channels; those of a column have queries of their own. */
  readonly across: number;
  readonly down: number;
  /** Queries and keys of a thread in a block, multiples of 4. */
  readonly queries: number;
  readonly keys: number;
  readonly biased: boolean;
  readonly packed: boolean;
}

export function codedAttentionBytes(shape: Omit<CodedAttention, 'biased' | 'packed'>): number {
  const { depth, across, down, queries, keys } = shape;
  const [rows, block] = [down * queries, across * keys];
  const given = Math.max((depth / 4) * (block + 4), (block / 4) * (depth + 4));
  return 4 * ((depth / 4) * (rows + 4) + given + (block / 4) * (rows + 4) + rows * across + 4 * block);
}

const MOST_THREADS = 128;

/** Queries of a head from which on a workgroup need not take a power of two of them. */
const MANY_TOKENS = 2048;

/**
 * The threads for heads of so many channels in so many bytes of workgroup memory. Four queries by four keys a thread are
 * faster than more of either by up to a half: `npm run tune:webgpu`.
 */
export function codedAttentionShape(
  depth: number,
  bytes: number,
  tokens: number,
): Omit<CodedAttention, 'biased' | 'packed' | 'depth'> {
  const across = acrossOf(depth / 4);
  const shape = (down: number) => ({ across, down, queries: 4, keys: 4 });
  const most = Math.max(1, Math.floor(MOST_THREADS / across));
  const first = tokens > MANY_TOKENS ? most : 1 << (31 - Math.clz32(most));
  for (let down = first; down > 1; down--) {
    if (codedAttentionBytes({ depth, ...shape(down) }) <= bytes) return shape(down);
  }
  return shape(1);
}

export const codedAttention = kernelFamily(defineCodedAttention);

function defineCodedAttention(options: CodedAttention): Kernel {
  const { depth, across, down, queries, keys, biased, packed } = options;
  const threads = across * down;
  const [rows, block] = [down * queries, across * keys];
  const fours = depth / 4;
  const each = fours / across;
  // In vec4 of four queries, keys or channels, one more than needed.
  const [rowStride, keyStride, channelStride] = [rows / 4 + 1, block / 4 + 1, fours + 1];
  const given = Math.max(fours * keyStride, (block / 4) * channelStride);
  const pairs = (second: number, body: (i: number, j: number) => string) =>
    range(queries)
      .flatMap((i) => range(second).map((j) => body(i, j)))
      .join(' ');
  const eachRow = (body: (i: number) => string) => range(queries).map(body).join('\n    ');
  const part = (name: string, i: number) => `${name}${i >> 2}.${'xyzw'[i & 3]}`;
  /** Four by four, the threads' fours side by side. */
  const row = (i: number) => `(${(i >> 2) * down * 4 + (i & 3)}u + ty * 4u)`;
  const key = (j: number) => `(${(j >> 2) * across * 4 + (j & 3)}u + tx * 4u)`;
  const blockFours = block / 4;
  /** Vectors of a block that a thread fetches before they are wanted, and then puts where all see them. */
  const fetched = range(Math.ceil((blockFours * fours) / threads));
  const slot = (i: number) => `let i = min(t + ${i * threads}u, ${blockFours * fours - 1}u);`;
  const records = range(Math.ceil(block / threads));
  const keyOf = (i: number, first: string) => `min(${first} + t + ${i * threads}u, p.keys - 1u)`;
  const fetchKeys = (first: string) => `
    ${fetched
      .map((i) => `{ ${slot(i)} f${i} = keyCodes[min(keys0 + (${first}) / 4u * ${fours}u + i, keysEnd)]; }`)
      .join('\n    ')}
    ${records
      .map((i) => {
        const bias = biased ? ` e${i}.w = bitcast<u32>(bias[group.z * p.keys + ${keyOf(i, first)}]);` : '';
        return `e${i} = keyRecords[head * p.keys + ${keyOf(i, first)}];${bias}`;
      })
      .join('\n    ')}`;
  const fetchValues = fetched
    .map((i) => {
      const word = `min(key0 / 4u + i % ${blockFours}u, p.keyWords - 1u)`;
      return `{ ${slot(i)} f${i} = valueCodes[(head * ${fours}u + i / ${blockFours}u) * p.keyWords + ${word}]; }`;
    })
    .join('\n    ');
  const putValues = fetched
    .map((i) => `{ ${slot(i)} given[(i % ${blockFours}u) * ${channelStride}u + i / ${blockFours}u] = f${i}; }`)
    .join('\n    ');
  const putKeys = `
    ${fetched
      .map((i) => `{ ${slot(i)} given[(i % ${fours}u) * ${keyStride}u + i / ${fours}u] = f${i}; }`)
      .join('\n    ')}
    ${records.map((i) => `if (t + ${i * threads}u < ${block}u) { keyRecordOf[t + ${i * threads}u] = e${i}; }`).join(' ')}`;
  /** Of the block of keys in workgroup memory: scores f of the thread's queries and keys. */
  const score = `
    ${pairs(keys, (i, j) => `var s${i}_${j} = 0;`)}
    for (var c = 0u; c < ${fours}u; c++) {
      ${range(queries / 4)
        .map((i) => `let a${i} = asked[c * ${rowStride}u + ty + ${i * down}u];`)
        .join(' ')}
      ${range(keys / 4)
        .map((j) => `let b${j} = given[c * ${keyStride}u + tx + ${j * across}u];`)
        .join(' ')}
      ${pairs(keys, (i, j) => `s${i}_${j} += dotSigned(${part('a', i)}, ${part('b', j)});`)}
    }
    ${range(keys)
      .map((j) => `let k${j} = keyRecordOf[${key(j)}]; let in${j} = key0 + ${key(j)} < p.keys;`)
      .join('\n    ')}
    ${pairs(keys, (i, j) => `let f${i}_${j} = select(-1e30, scoreOf(s${i}_${j}, r${i}, k${j}), in${j});`)}`;
  const highest = (values: string[]) => values.reduce((a, b) => `max(${a}, ${b})`);
  return defineKernel({
    name: kernelName('attention-codes', { ...options }),
    parameters: { tokens: 'u32', keys: 'u32', heads: 'u32', keyWords: 'u32' },
    buffers: {
      queryRecords: 'array<vec4<u32>>',
      queryCodes: 'array<vec4<u32>>',
      keyRecords: 'array<vec4<u32>>',
      keyCodes: 'array<vec4<u32>>',
      valueRecords: 'array<vec4<u32>>',
      valueCodes: 'array<vec4<u32>>',
      ...(biased ? { bias: 'array<f32>' } : {}),
      out: 'rw array<vec4<f32>>',
    },
    body: `
${dots(packed)}
var<workgroup> asked: array<vec4<u32>, ${fours * rowStride}>;
var<workgroup> given: array<vec4<u32>, ${given}>;
var<workgroup> weights: array<vec4<u32>, ${(block / 4) * rowStride}>;
var<workgroup> keyRecordOf: array<vec4<u32>, ${block}>;
var<workgroup> parts: array<u32, ${rows * across}>;
fn scoreOf(sum: i32, row: vec4<u32>, key: vec4<u32>) -> f32 {
  let total = sum - bitcast<i32>(row.y) * bitcast<i32>(key.z) - bitcast<i32>(key.y) * bitcast<i32>(row.z);
  return exact(f32(total) * (bitcast<f32>(key.x) * bitcast<f32>(row.x))) + bitcast<f32>(key.w);
}
fn codeOf(score: f32, top: f32) -> u32 { return u32(round(exp(score - top) * 255.0)); }
@compute @workgroup_size(${threads})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) t: u32) {
  let tx = t % ${across}u;
  let ty = t / ${across}u;
  let first = group.x * ${rows}u;
  let head = group.z * p.heads + group.y;
  let keys0 = head * ((p.keys + 3u) / 4u) * ${fours}u;
  let keysEnd = keys0 + ((p.keys + 3u) / 4u) * ${fours}u - 1u;
  let queries0 = head * ((p.tokens + 3u) / 4u) * ${fours}u;
  let queriesEnd = queries0 + ((p.tokens + 3u) / 4u) * ${fours}u - 1u;
  for (var i = t; i < ${(rows / 4) * fours}u; i += ${threads}u) {
    asked[(i % ${fours}u) * ${rowStride}u + i / ${fours}u] = queryCodes[min(queries0 + (first / 4u) * ${fours}u + i, queriesEnd)];
  }
  ${fetched.map((i) => `var f${i}: vec4<u32>;`).join(' ')}
  ${records.map((i) => `var e${i}: vec4<u32>;`).join(' ')}
  ${fetchKeys('0u')}
  ${eachRow((i) => {
    const token = `min(first + ${row(i)}, p.tokens - 1u)`;
    return `let r${i} = queryRecords[head * p.tokens + ${token}]; var top${i} = -1e30; var count${i} = 0u;`;
  })}
  for (var key0 = 0u; key0 < p.keys; key0 += ${block}u) {
    ${putKeys}
    workgroupBarrier();
    ${fetchKeys(`key0 + ${block}u`)}
    ${score}
    ${eachRow((i) => `top${i} = max(top${i}, ${highest(range(keys).map((j) => `f${i}_${j}`))});`)}
    workgroupBarrier();
  }
  ${eachRow((i) => `parts[${row(i)} * ${across}u + tx] = bitcast<u32>(top${i});`)}
  workgroupBarrier();
  for (var j = 0u; j < ${across}u; j++) {
    ${eachRow((i) => `top${i} = max(top${i}, bitcast<f32>(parts[${row(i)} * ${across}u + j]));`)}
  }
  ${pairs(4 * each, (i, j) => `var o${i}_${j} = 0u;`)}
  ${fetchKeys('0u')}
  for (var key0 = 0u; key0 < p.keys; key0 += ${block}u) {
    ${putKeys}
    workgroupBarrier();
    ${fetchValues}
    ${score}
    ${eachRow((i) =>
      range(keys / 4)
        .map((q) => {
          const codes = range(4).map((c) => `codeOf(f${i}_${4 * q + c}, top${i})`);
          return `{ let e = vec4<u32>(${codes.join(', ')});
      count${i} += e.x + e.y + e.z + e.w;
      weights[(tx + ${q * across}u) * ${rowStride}u + ${row(i)} / 4u][${i & 3}] = e.x | (e.y << 8u) | (e.z << 16u) | (e.w << 24u); }`;
        })
        .join(' '),
    )}
    workgroupBarrier();
    ${putValues}
    workgroupBarrier();
    ${fetchKeys(`key0 + ${block}u`)}
    for (var word = 0u; word < ${block / 4}u; word++) {
      ${range(queries / 4)
        .map((i) => `let a${i} = weights[word * ${rowStride}u + ty + ${i * down}u];`)
        .join(' ')}
      ${range(each)
        .map((j) => `let b${j} = given[word * ${channelStride}u + tx + ${j * across}u];`)
        .join(' ')}
      ${pairs(4 * each, (i, j) => `o${i}_${j} += dotUnsigned(${part('a', i)}, ${part('b', j)});`)}
    }
    workgroupBarrier();
  }
  ${eachRow((i) => `parts[${row(i)} * ${across}u + tx] = count${i};`)}
  workgroupBarrier();
  ${range(each)
    .map((q) => {
      const channel = `(head * ${depth}u + (tx + ${q * across}u) * 4u)`;
      return range(4)
        .map((c) => `let v${4 * q + c} = valueRecords[${channel} + ${c}u];`)
        .join(' ');
    })
    .join('\n  ')}
  ${eachRow((i) => {
    const stores = range(each).map((q) => {
      const values = range(4).map((c) => `valueOf(o${i}_${4 * q + c}, total, scale, v${4 * q + c})`);
      const at = `((group.z * p.tokens + first + ${row(i)}) * p.heads + group.y) * ${fours}u + tx + ${q * across}u`;
      return `out[${at}] = vec4<f32>(${values.join(', ')});`;
    });
    return `if (first + ${row(i)} < p.tokens) {
      var total = 0u;
      for (var j = 0u; j < ${across}u; j++) { total += parts[${row(i)} * ${across}u + j]; }
      let scale = 1.0 / f32(total);
      ${stores.join(' ')}
    }`;
  })}
}
fn valueOf(sum: u32, total: u32, scale: f32, value: vec4<u32>) -> f32 {
  let whole = bitcast<i32>(sum) - bitcast<i32>(value.y) * bitcast<i32>(total);
  return f32(whole) * (bitcast<f32>(value.x) * scale);
}`,
  });
}
