/** The float product in float16, operands and sums, for comparison: no engine uses it. */
import { OUTPUT_PARAMETERS, writeTile } from '@edge-dit/runtime/engines/webgpu/gemm-output';
import {
  rowOperand,
  type TileProgram,
  type TileShape,
  tileLoop,
  tileMemory,
  tilePlace,
  tileThreads,
} from '@edge-dit/runtime/engines/webgpu/gemm-tile';
import { defineKernel, type Kernel, kernelName } from '@edge-dit/runtime/engines/webgpu/kernel';

export function halfGemm(shape: TileShape): Kernel {
  const program: TileProgram = {
    shape,
    scalar: 'f16',
    sum: 'f16',
    a: rowOperand(shape.rows, shape.depth, 'f16', (row, k) => `rowVector(row0 + ${row}, ${k})`),
    b: rowOperand(shape.columns, shape.depth, 'f16', (row, k) => `weightVector(column0 + ${row}, ${k})`),
    multiply: (sum, a, b) => `${sum} = fma(${a}, ${b}, ${sum});`,
  };
  return defineKernel({
    name: kernelName('gemm-half', { shape: Object.values(shape).join('x') }),
    enables: ['f16'],
    parameters: { rows: 'u32', columns: 'u32', inputs: 'u32', xAt: 'u32', xStride: 'u32', ...OUTPUT_PARAMETERS },
    buffers: {
      x: 'array<vec4<f16>>',
      w: 'array<vec4<f16>>',
      bias: 'array<f32>',
      out: 'rw array<vec4<f32>>',
    },
    body: `
${tileMemory(program)}
fn rowVector(row: u32, k: u32) -> vec4<f16> {
  if (row >= p.rows || k >= p.inputs) { return vec4<f16>(); }
  return x[(row * p.xStride + k) / 4u];
}
fn weightVector(column: u32, k: u32) -> vec4<f16> {
  if (column >= p.columns || k >= p.inputs) { return vec4<f16>(); }
  return w[(column * p.inputs + k) / 4u];
}
fn getOut(at: u32) -> vec4<f32> { return out[at]; }
fn setOut(at: u32, value: vec4<f32>) { out[at] = value; }
@compute @workgroup_size(${tileThreads(shape)})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) t: u32) {
  let row0 = group.y * ${shape.rows}u;
  let column0 = group.x * ${shape.columns}u;
  let steps = (p.inputs + ${shape.depth - 1}u) / ${shape.depth}u;
  ${tilePlace(shape)}
  ${tileLoop(program)}
  ${writeTile({ shape, into: 'new', aligned: true, perRow: '', value: (i, j) => `f32(s${i}_${j})` })}
}`,
  });
}
