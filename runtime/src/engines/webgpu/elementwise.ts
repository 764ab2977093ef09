/** Small kernels that move values or add them, a thread a vector of four or a value. */
import { defineKernel } from './kernel.ts';

export const ELEMENT_THREADS = 128;

const HEAD = `
@compute @workgroup_size(${ELEMENT_THREADS})
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let i = id.x + id.y * groups.x * ${ELEMENT_THREADS}u;
  if (i >= p.count) { return; }`;

/** out = x + table, of vectors; the table is repeated. */
export const ADD = defineKernel({
  name: 'add',
  parameters: { count: 'u32', xAt: 'u32', tableAt: 'u32', tableCount: 'u32' },
  buffers: { x: 'array<vec4<f32>>', table: 'array<vec4<f32>>', out: 'rw array<vec4<f32>>' },
  body: `${HEAD} out[i] = x[p.xAt + i] + table[p.tableAt + i % p.tableCount]; }`,
});

/** Rows of `channels` values into the columns from `outAt` on. */
export const COPY_ROWS = defineKernel({
  name: 'copy-rows',
  parameters: { count: 'u32', channels: 'u32', xAt: 'u32', xStride: 'u32', outAt: 'u32', outStride: 'u32' },
  buffers: { x: 'array<f32>', out: 'rw array<f32>' },
  body: `${HEAD}
  let row = i / p.channels;
  let channel = i % p.channels;
  out[p.outAt + row * p.outStride + channel] = x[p.xAt + row * p.xStride + channel];
}`,
});
