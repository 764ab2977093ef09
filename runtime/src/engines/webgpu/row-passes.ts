/**
 * Passes over rows of float32, a workgroup a row: what an operand's pass makes of it, in float32 or at once in codes by
 * token. Codes are what the format says, bit for bit: no step of theirs is left to how a device rounds a division.
 */
import { range } from './gemm-tile.ts';
import { defineKernel, type Kernel, kernelFamily, kernelName } from './kernel.ts';

export type RowPass = 'none' | 'gelu' | 'silu' | 'norm';

export interface RowKernel {
  readonly pass: RowPass;
  /** Of a norm: shift and scale vectors. */
  readonly modulated: boolean;
  readonly to: 'float' | 'codes';
  /** Of codes: x times factors [channels] first. */
  readonly factors: boolean;
  /** Of codes: a Hadamard rotation of this order first, by factors that have its signs. */
  readonly rotation?: number;
  /** A multiple of 4. */
  readonly channels: number;
}

/** Rotations of so many channels and such an order can be part of the pass; else a kernel of their own comes before. */
export const rotatesInside = (channels: number, order: number, limits: GPUSupportedLimits): boolean =>
  (channels / order) % 4 === 0 && 4 * channels + REDUCTION_BYTES <= limits.maxComputeWorkgroupStorageSize;

const REDUCTION_BYTES = 8192;

/** x / (1 + exp(-slope (x + 0.044715 x^3))), the tanh form of GELU without its cancellation; the argument is held where exp is finite. */
const SLOPE = 2 * Math.sqrt(2 / Math.PI);
const PASSES: Record<RowPass, string> = {
  none: 'return v;',
  gelu: `return v / (1.0 + exp(clamp(-${SLOPE} * (v + 0.044715 * v * v * v), vec4<f32>(-80.0), vec4<f32>(80.0))));`,
  silu: 'return v / (1.0 + exp(clamp(-v, vec4<f32>(-80.0), vec4<f32>(80.0))));',
  norm: 'return v;',
};

/**
 * The correctly rounded quotient of positive normal floats whose quotient is normal: long division of the significands.
 * Devices may miss it by two and a half units in the last place.
 */
export const DIVIDE = `
fn divide(a: f32, b: f32) -> f32 {
  let x = bitcast<u32>(a);
  let y = bitcast<u32>(b);
  let divisor = (y & 0x7fffffu) | 0x800000u;
  var rest = (x & 0x7fffffu) | 0x800000u;
  var exponent = i32(x >> 23u) - i32(y >> 23u) + 127;
  if (rest < divisor) { rest = rest << 1u; exponent -= 1; }
  var quotient = 0u;
  for (var i = 0; i < 24; i++) {
    let fits = rest >= divisor;
    quotient = (quotient << 1u) | select(0u, 1u, fits);
    rest = (rest - select(0u, divisor, fits)) << 1u;
  }
  if (rest > divisor || (rest == divisor && (quotient & 1u) == 1u)) { quotient += 1u; }
  return bitcast<f32>((u32(exponent) << 23u) + quotient - 0x800000u);
}`;

/** Ranges below this count as zero: FORMAT.md. */
export const LEAST_RANGE = `${2 ** -100}`;

/** Threads of a row, such that each has few vectors of it. */
const threadsOf = (channels: number) => (channels <= 512 ? 64 : channels <= 2048 ? 128 : 256);

/** A WGSL function that combines a vec2 of each thread; every thread gets the result. */
const reduction = (threads: number, name: string, type: string, combine: (a: string, b: string) => string) => `
var<workgroup> ${name}Parts: array<${type}, ${threads}>;
fn ${name}(t: u32, mine: ${type}) -> ${type} {
  workgroupBarrier();
  ${name}Parts[t] = mine;
  for (var half = ${threads / 2}u; half > 0u; half = half / 2u) {
    workgroupBarrier();
    if (t < half) { ${name}Parts[t] = ${combine(`${name}Parts[t]`, `${name}Parts[t + half]`)}; }
  }
  workgroupBarrier();
  return ${name}Parts[0];
}`;

export const rowKernel = kernelFamily(defineRowKernel);

function defineRowKernel(options: RowKernel): Kernel {
  const { pass, modulated, to, factors, rotation, channels } = options;
  const threads = threadsOf(channels);
  const vectors = channels / 4;
  const each = Math.ceil(vectors / threads);
  const codes = to === 'codes';
  /** WGSL once for each of a thread's vectors: number `i`, vector `at` of the row. */
  const forEach = (body: (v: string) => string) =>
    range(each)
      .map((i) => {
        const inner = `let at = t + ${i * threads}u; ${body(`v${i}`)}`;
        return (i + 1) * threads > vectors ? `if (t + ${i * threads}u < ${vectors}u) { ${inner} }` : `{ ${inner} }`;
      })
      .join('\n  ');
  const norm = `
  var sum = 0.0;
  ${forEach((v) => `sum += dot(${v}, vec4<f32>(1.0));`)}
  let mean = total(t, sum) / ${channels}.0;
  var squares = 0.0;
  ${forEach((v) => `let d = ${v} - mean; squares += dot(d, d);`)}
  let inverse = 1.0 / sqrt(total(t, squares) / ${channels}.0 + p.eps);
  ${modulated ? 'let vector0 = (row / p.rowsOfVector) * p.vectorStride;' : ''}
  ${forEach((v) => {
    const plain = `(${v} - mean) * inverse`;
    const scaled = `${plain} * (1.0 + scale[(p.scaleAt + vector0) / 4u + at]) + shift[(p.shiftAt + vector0) / 4u + at]`;
    return `${v} = ${modulated ? scaled : plain};`;
  })}`;
  return defineKernel({
    name: kernelName('rows', { ...options }),
    parameters: {
      rows: 'u32',
      xAt: 'u32',
      xStride: 'u32',
      ...(modulated ? { shiftAt: 'u32', scaleAt: 'u32', vectorStride: 'u32', rowsOfVector: 'u32' } : {}),
      ...(pass === 'norm' ? { eps: 'f32' } : {}),
      ...(codes ? { codesAt: 'u32', words: 'u32', steps: 'f32' } : {}),
      ...(rotation ? { rotated: 'f32' } : {}),
    },
    buffers: {
      x: 'array<vec4<f32>>',
      ...(modulated ? { shift: 'array<vec4<f32>>', scale: 'array<vec4<f32>>' } : {}),
      ...(factors ? { factors: 'array<vec4<f32>>' } : {}),
      /** [order, order]: the sign bit where the matrix has -1. */
      ...(rotation ? { flips: 'array<u32>' } : {}),
      out: codes ? 'rw array<u32>' : 'rw array<vec4<f32>>',
    },
    body: `
${rotation ? `var<workgroup> line: array<vec4<f32>, ${vectors}>;` : ''}
${pass === 'norm' ? reduction(threads, 'total', 'f32', (a, b) => `${a} + ${b}`) : ''}
${codes ? CODES + reduction(threads, 'extent', 'vec2<f32>', (a, b) => `max(${a}, ${b})`) : ''}
${codes ? reduction(threads, 'count', 'i32', (a, b) => `${a} + ${b}`) : ''}
fn passed(v: vec4<f32>) -> vec4<f32> { ${PASSES[pass]} }
@compute @workgroup_size(${threads})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) t: u32) {
  let row = group.x + group.y * groups.x;
  if (row >= p.rows) { return; }
  let x0 = (p.xAt + row * p.xStride) / 4u;
  ${range(each)
    .map((i) => `var v${i}: vec4<f32>;`)
    .join(' ')}
  ${forEach((v) => `${v} = passed(x[x0 + at]);`)}
  ${pass === 'norm' ? norm : ''}
  ${codes ? toCodes(forEach, options, threads) : forEach((v) => `out[row * ${vectors}u + at] = ${v};`)}
}`,
  });
}

/** What a row's codes are made with, from its range. */
const CODES = `
${DIVIDE}
struct Step { factor: f32, scale: f32, zero: i32 }
fn stepOf(low: f32, high: f32, steps: f32, least: f32) -> Step {
  let range = high - low;
  if (!(range > ${LEAST_RANGE})) { return Step(0.0, 0.0, i32(least)); }
  let factor = divide(steps, range);
  return Step(factor, divide(range, steps), i32(round(least - exact(low * factor))));
}`;

/** Codes of the thread's vectors, four to a word, zeros beyond the row, and the row's record. */
function toCodes(
  forEach: (body: (v: string) => string) => string,
  { factors, rotation, channels }: RowKernel,
  threads: number,
): string {
  return `
  ${factors ? forEach((v) => `${v} = exact4(${v} * factors[at]);`) : ''}
  ${rotation ? rotate(forEach, channels / 4, rotation, threads) : ''}
  var ends = vec2<f32>();
  ${forEach(
    (v) =>
      `ends = max(ends, vec2<f32>(max(max(-${v}.x, -${v}.y), max(-${v}.z, -${v}.w)), max(max(${v}.x, ${v}.y), max(${v}.z, ${v}.w))));`,
  )}
  let found = extent(t, ends);
  let least = -(p.steps + 1.0) / 2.0;
  let made = stepOf(-found.x, found.y, p.steps, least);
  var coded = 0;
  let start = p.codesAt * 4u + row * p.words;
  ${forEach(
    (v) => `
    let q = clamp(vec4<i32>(round(${v} * made.factor)) + made.zero, vec4<i32>(i32(least)), vec4<i32>(-i32(least) - 1));
    coded += dot(q - made.zero, vec4<i32>(1));
    let bytes = bitcast<vec4<u32>>(q) & vec4<u32>(255u);
    out[start + at] = bytes.x | (bytes.y << 8u) | (bytes.z << 16u) | (bytes.w << 24u);`,
  )}
  for (var at = ${channels / 4}u + t; at < p.words; at += ${threads}u) { out[start + at] = 0u; }
  let all = count(t, coded);
  if (t == 0u) {
    out[4u * row] = bitcast<u32>(made.scale);
    out[4u * row + 1u] = bitcast<u32>(made.zero);
    out[4u * row + 2u] = bitcast<u32>(all);
    out[4u * row + 3u] = 0u;
  }`;
}

/** The format's order of operations, and so its bits: sums and differences of halves, then of whole blocks by the matrix. */
function rotate(
  forEach: (body: (v: string) => string) => string,
  vectors: number,
  order: number,
  threads: number,
): string {
  const block = vectors / order;
  const flipped = 'bitcast<vec4<f32>>(bitcast<vec4<u32>>(line[other * BLOCKu + at % BLOCKu]) ^ vec4<u32>(flip))';
  const mixed = `var sum = vec4<f32>();
    for (var other = 0u; other < ${order}u; other++) {
      let flip = flips[other * ${order}u + at / ${block}u];
      sum += ${flipped.replaceAll('BLOCK', `${block}`)};
    }`;
  return `
  ${forEach(
    (v) => `
    ${v} = vec4<f32>(${v}.x + ${v}.y, ${v}.x - ${v}.y, ${v}.z + ${v}.w, ${v}.z - ${v}.w);
    ${v} = vec4<f32>(${v}.x + ${v}.z, ${v}.y + ${v}.w, ${v}.x - ${v}.z, ${v}.y - ${v}.w);
    line[at] = ${v};`,
  )}
  for (var half = 1u; half < ${block}u; half = half * 2u) {
    workgroupBarrier();
    for (var i = t; i < ${vectors / 2}u; i += ${threads}u) {
      // Pair i: vector c, where bit \`half\` of c is 0, and c + half.
      let c = (i / half) * 2u * half + i % half;
      let a = line[c];
      let b = line[c + half];
      line[c] = a + b;
      line[c + half] = a - b;
    }
  }
  workgroupBarrier();
  ${forEach((v) => `${order > 1 ? mixed : 'let sum = line[at];'} ${v} = exact4(sum * p.rotated);`)}`;
}
