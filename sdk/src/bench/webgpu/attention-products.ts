/**
 * The two products of an attention as products of matrices and nothing else: scores = queries keys^T and scores values, of
 * all heads in one dispatch, by the loop of the engine's own products, in the fastest of some tiles. Operands lie as suits
 * the loop best, and scores are written and read: an attention that keeps them to itself can be faster than both.
 */
import type { AttentionPrecision } from '@edge-dit/runtime/engines/engine';
import { dots } from '@edge-dit/runtime/engines/webgpu/codes';
import { OUTPUT_PARAMETERS, writeTile } from '@edge-dit/runtime/engines/webgpu/gemm-output';
import {
  rowOperand,
  type TileProgram,
  type TileShape,
  tileBytes,
  tileLoop,
  tileMemory,
  tilePlace,
  tileThreads,
} from '@edge-dit/runtime/engines/webgpu/gemm-tile';
import { defineKernel, type Kernel, kernelName } from '@edge-dit/runtime/engines/webgpu/kernel';
import type { DispatchClock, Work } from './dispatch-clock.ts';
import { tileName, tileOf } from './products.ts';

/** What one call of an attention is asked. */
export interface AttentionShape {
  readonly precision: AttentionPrecision;
  /** Heads of all samples. */
  readonly heads: number;
  readonly tokens: number;
  readonly keys: number;
  /** Channels of a head. */
  readonly depth: number;
}

export interface AttentionProduct {
  readonly tile: string;
  /** Of a pass of one dispatch, and of one of some in a pass. */
  readonly nanoseconds: number;
  readonly inRow: number;
  /** 10^12 multiplications with addition a second. */
  readonly rate: number;
}

export interface AttentionProducts extends AttentionShape {
  readonly scores: AttentionProduct;
  readonly values: AttentionProduct;
}

interface BatchedShape {
  readonly heads: number;
  readonly rows: number;
  readonly columns: number;
  /** In values of the operands: float32, or words of four codes. */
  readonly inputs: number;
}

/** Dispatches of a pass that are timed together. */
const ROW = 4;

/** Bytes of an operand at most: of more heads only so many are timed, and the time of all is in proportion. */
const MOST_BYTES = 2 ** 30;

export async function timeAttentionProducts(
  clock: DispatchClock,
  shape: AttentionShape,
  packed: boolean,
  rounds?: number,
): Promise<AttentionProducts> {
  const { heads, tokens, keys, depth, precision } = shape;
  const codes = precision === 'int8';
  const values = (count: number) => (codes ? Math.ceil(count / 16) * 4 : Math.ceil(count / 4) * 4);
  const time = async (columns: number, inputs: number): Promise<AttentionProduct> => {
    const batched = { heads, rows: tokens, columns, inputs: values(inputs) };
    const { tile, nanoseconds, inRow } = await fastest(clock, batched, codes, packed, rounds);
    return { tile: tileName(tile), nanoseconds, inRow, rate: (heads * tokens * columns * inputs) / nanoseconds / 1000 };
  };
  return { ...shape, scores: await time(keys, depth), values: await time(depth, keys) };
}

async function fastest(
  clock: DispatchClock,
  shape: BatchedShape,
  codes: boolean,
  packed: boolean,
  rounds: number | undefined,
): Promise<{ tile: TileShape; nanoseconds: number; inRow: number }> {
  const { heads, rows, columns, inputs } = shape;
  const { maxComputeInvocationsPerWorkgroup: threads, maxComputeWorkgroupStorageSize: bytes } = clock.device.limits;
  const tiles = tilesFor(columns, inputs).filter((t) => tileThreads(t) <= threads && tileBytes(t) <= bytes);
  const mark = clock.mark;
  const largest = 4 * Math.max(rows * columns, rows * inputs, columns * inputs);
  const most = Math.min(MOST_BYTES, clock.device.limits.maxStorageBufferBindingSize);
  const count = Math.min(heads, Math.max(1, Math.floor(most / largest)));
  const operands = [
    clock.random(4 * count * rows * inputs, 1),
    clock.random(4 * count * columns * inputs, 2),
    clock.blank(4 * count * rows * columns),
  ];
  const works: Work[] = tiles.map((tile) => ({
    kernel: batchedGemm(tile, codes, packed),
    buffers: operands,
    parameters: { rows, columns, inputs },
    groups: [Math.ceil(columns / tile.columns), Math.ceil(rows / tile.rows), count],
  }));
  await clock.prepare(works.map(({ kernel }) => kernel));
  const times = await clock.time(works, rounds);
  const best = times.indexOf(Math.min(...times));
  const row = Array.from({ length: ROW }, () => works[best]);
  const [together] = await clock.timePasses([row], rounds);
  clock.clear(mark);
  const scale = heads / count;
  return { tile: tiles[best], nanoseconds: times[best] * scale, inRow: (together / ROW) * scale };
}

/** Tiles of which none wastes columns that a head does not have, in steps that go into the depth. */
function tilesFor(columns: number, inputs: number): TileShape[] {
  const depths = [8, 12, 16, 20, 24, 32, 36, 40].filter((depth) => inputs % depth === 0).slice(-3);
  const few = columns <= 80 ? Math.ceil(columns / 8) * 8 : 0;
  const once = { buffers: 1 } as const;
  return (depths.length > 0 ? depths : [8]).flatMap((depth) =>
    few > 0
      ? [
          tileOf(128, few, 8, 8, depth, once),
          tileOf(64, few, 4, 8, depth, once),
          tileOf(64, few, 8, 4, depth, once),
          tileOf(64, few, 8, 4, depth),
          tileOf(32, few, 4, 4, depth, once),
          tileOf(32, few, 4, 4, depth),
        ]
      : [
          tileOf(128, 128, 8, 8, depth, once),
          tileOf(64, 128, 8, 8, depth, once),
          tileOf(64, 64, 8, 4, depth, once),
          tileOf(64, 64, 4, 4, depth, once),
          tileOf(32, 64, 4, 4, depth, once),
        ],
  );
}

/** Of each head: x [rows, inputs] times w [columns, inputs] transposed. */
export function batchedGemm(shape: TileShape, codes: boolean, packed: boolean): Kernel {
  const scalar = codes ? 'u32' : 'f32';
  const program: TileProgram = {
    shape,
    scalar,
    sum: codes ? 'i32' : 'f32',
    a: rowOperand(shape.rows, shape.depth, scalar, (row, k) => `rowVector(row0 + ${row}, ${k})`),
    b: rowOperand(shape.columns, shape.depth, scalar, (row, k) => `columnVector(column0 + ${row}, ${k})`),
    multiply: codes
      ? (sum, a, b) => `${sum} += dotSigned(${a}, ${b});`
      : (sum, a, b) => `${sum} = fma(${a}, ${b}, ${sum});`,
  };
  return defineKernel({
    name: kernelName('gemm-heads', { shape: Object.values(shape).join('x'), codes, packed }),
    parameters: { rows: 'u32', columns: 'u32', inputs: 'u32', ...OUTPUT_PARAMETERS },
    buffers: { x: `array<vec4<${scalar}>>`, w: `array<vec4<${scalar}>>`, out: 'rw array<vec4<f32>>' },
    body: `
${codes ? dots(packed) : ''}
${tileMemory(program)}
var<private> head: u32;
fn rowVector(row: u32, k: u32) -> vec4<${scalar}> {
  if (row >= p.rows || k >= p.inputs) { return vec4<${scalar}>(); }
  return x[((head * p.rows + row) * p.inputs + k) / 4u];
}
fn columnVector(column: u32, k: u32) -> vec4<${scalar}> {
  if (column >= p.columns || k >= p.inputs) { return vec4<${scalar}>(); }
  return w[((head * p.columns + column) * p.inputs + k) / 4u];
}
fn setOut(at: u32, value: vec4<f32>) { out[head * p.rows * p.columns / 4u + at] = value; }
@compute @workgroup_size(${tileThreads(shape)})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) t: u32) {
  head = group.z;
  let row0 = group.y * ${shape.rows}u;
  let column0 = group.x * ${shape.columns}u;
  let steps = (p.inputs + ${shape.depth - 1}u) / ${shape.depth}u;
  ${tilePlace(shape)}
  ${tileLoop(program)}
  ${writeTile({ shape, into: 'new', aligned: true, perRow: '', value: (i, j) => `f32(s${i}_${j})` })}
}`,
  });
}
