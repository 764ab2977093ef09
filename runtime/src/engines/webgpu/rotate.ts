/**
 * The Hadamard rotation of rows, with the format's order of operations and so its bits: a workgroup a row, which it holds
 * in workgroup memory, or in the output where it does not fit there.
 */
import { defineKernel, type Kernel, kernelFamily, kernelName } from './kernel.ts';

export interface RotateKernel {
  readonly channels: number;
  readonly order: number;
  /** The row fits in workgroup memory. */
  readonly inside: boolean;
}

const THREADS = 128;

export const rotateKernel = kernelFamily(defineRotateKernel);

function defineRotateKernel(options: RotateKernel): Kernel {
  const { channels, order, inside } = options;
  const block = channels / order;
  const each = Math.ceil(channels / THREADS);
  const at = (c: string) => (inside ? `line[${c}]` : `out[start + ${c}]`);
  const barrier = inside ? 'workgroupBarrier();' : 'storageBarrier();';
  const mix = `
  ${barrier}
  var sums: array<f32, ${each}>;
  for (var i = 0u; i < ${each}u; i++) {
    let c = t + i * ${THREADS}u;
    if (c < ${channels}u) {
      var sum = 0.0;
      for (var other = 0u; other < ${order}u; other++) {
        let flip = flips[other * ${order}u + c / ${block}u];
        sum += bitcast<f32>(bitcast<u32>(${at(`other * ${block}u + c % ${block}u`)}) ^ flip);
      }
      sums[i] = sum;
    }
  }
  ${barrier}
  for (var i = 0u; i < ${each}u; i++) {
    let c = t + i * ${THREADS}u;
    if (c < ${channels}u) { ${at('c')} = sums[i]; }
  }`;
  return defineKernel({
    name: kernelName('rotate', { ...options }),
    parameters: { rows: 'u32', xAt: 'u32', xStride: 'u32', scale: 'f32' },
    buffers: {
      x: 'array<f32>',
      /** [channels]: the balance with the signs. */
      factors: 'array<f32>',
      /** [order, order]: the sign bit where the matrix has -1. */
      flips: 'array<u32>',
      out: 'rw array<f32>',
    },
    body: `
${inside ? `var<workgroup> line: array<f32, ${channels}>;` : ''}
@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) t: u32) {
  let row = group.x + group.y * groups.x;
  if (row >= p.rows) { return; }
  let start = row * ${channels}u;
  for (var c = t; c < ${channels}u; c += ${THREADS}u) {
    ${at('c')} = exact(x[p.xAt + row * p.xStride + c] * factors[c]);
  }
  for (var half = 1u; half < ${block}u; half = half * 2u) {
    ${barrier}
    for (var i = t; i < ${channels / 2}u; i += ${THREADS}u) {
      // Pair i: channel c, where bit \`half\` of c is 0, and c + half.
      let c = (i / half) * 2u * half + i % half;
      let a = ${at('c')};
      let b = ${at('c + half')};
      ${at('c')} = a + b;
      ${at('c + half')} = a - b;
    }
  }
  ${order > 1 ? mix : ''}
  ${barrier}
  for (var c = t; c < ${channels}u; c += ${THREADS}u) { out[start + c] = ${at('c')} * p.scale; }
}`,
  });
}
