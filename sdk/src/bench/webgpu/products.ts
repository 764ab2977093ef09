/** Products of matrices by shape and kind: what the engine's kernels take, and what float ones of the same make take. */
import { codesGemm, ROW_ROOM, ROW_WORDS } from '@edge-dit/runtime/engines/webgpu/gemm-codes';
import { floatGemm } from '@edge-dit/runtime/engines/webgpu/gemm-float';
import type { TileShape } from '@edge-dit/runtime/engines/webgpu/gemm-tile';
import type { Kernel } from '@edge-dit/runtime/engines/webgpu/kernel';
import { codesTile, floatTile } from '@edge-dit/runtime/engines/webgpu/tiles';
import { packedDotWork } from './ceilings.ts';
import type { DispatchClock, Work } from './dispatch-clock.ts';
import { halfGemm } from './half-gemm.ts';

export interface ProductShape {
  readonly rows: number;
  readonly columns: number;
  readonly inputs: number;
  /** Products of the same rows in one dispatch, as of queries, keys and values. */
  readonly layers?: number;
}

export type ProductKind = 'W4A8' | 'W8A8' | 'fp32' | 'fp16';
/** And what onnxruntime-web makes of the same. */
export type MeasuredKind = ProductKind | 'ort fp32' | 'ort fp16';

export interface ProductFigure extends ProductShape {
  readonly kind: MeasuredKind;
  readonly tile: string;
  readonly nanoseconds: number;
  /** 10^12 multiplications with addition a second. */
  readonly rate: number;
  /** So many a second did the loop of dot4I8Packed, in turns with the product. */
  readonly ceiling?: number;
}

/** A product in a tile: the engine's own without one. */
export interface Candidate {
  readonly kind: ProductKind;
  readonly tile?: TileShape;
}

export const tileOf = (
  rows: number,
  columns: number,
  threadRows: number,
  threadColumns: number,
  depth: number,
): TileShape => ({ rows, columns, threadRows, threadColumns, depth });

export const tileName = ({ rows, columns, threadRows, threadColumns, depth }: TileShape) =>
  `${rows}x${columns}/${threadRows}x${threadColumns}/${depth}`;

/** Of one shape, in turns with each other and with the loop of dot4I8Packed where there is that. */
export async function timeProducts(
  clock: DispatchClock,
  shape: ProductShape,
  packed: boolean,
  candidates: readonly Candidate[],
  rounds?: number,
): Promise<ProductFigure[]> {
  const { rows, columns, inputs, layers = 1 } = shape;
  const { limits } = clock.device;
  const mark = clock.mark;
  const used = candidates.map(({ kind, tile }) => {
    const coded = kind === 'W4A8' || kind === 'W8A8';
    const taken = tile ?? (coded ? codesTile(rows, columns * layers, limits) : floatTile(rows, columns, limits));
    const work = coded ? codesWork(clock, kind, shape, packed, taken) : floatWork(clock, kind, shape, taken);
    return { kind, taken, work };
  });
  const works: Work[] = used.map(({ work }) => work);
  const ceiling = packed ? packedDotWork(clock) : undefined;
  await clock.prepare([...works, ...(ceiling ? [ceiling] : [])].map(({ kernel }) => kernel));
  const times = await clock.time(ceiling ? [ceiling, ...works] : works, rounds);
  clock.clear(mark);
  const loop = ceiling && ceiling.products / times.shift()! / 1000;
  return used.map(({ kind, taken }, i) => {
    const rate = (rows * columns * inputs * layers) / times[i] / 1000;
    return { ...shape, kind, tile: tileName(taken), nanoseconds: times[i], rate, ceiling: loop };
  });
}

export const productKernel = (kind: ProductKind, layers: number, packed: boolean, shape: TileShape): Kernel =>
  kind === 'fp32'
    ? floatGemm({ weight: 'f32', grouped: false, shape, into: 'new', aligned: true, vectors: true })
    : kind === 'fp16'
      ? halfGemm(shape)
      : codesGemm({ bits: kind === 'W4A8' ? 4 : 8, grouped: false, packed, shape, layers, into: 'new', aligned: true });

function codesWork(
  clock: DispatchClock,
  kind: 'W4A8' | 'W8A8',
  { rows, columns, inputs, layers = 1 }: ProductShape,
  packed: boolean,
  tile: TileShape,
): Work {
  const bits = kind === 'W4A8' ? 4 : 8;
  const room = Math.ceil(rows / ROW_ROOM) * ROW_ROOM;
  const words = Math.ceil(inputs / 4 / ROW_WORDS) * ROW_WORDS;
  const panelWords = (columns / 8) * (inputs / 4) * bits;
  const weight = (i: number) => clock.random(4 * panelWords + 16 * columns, i + 2);
  const numbers = Array.from({ length: layers }, (_, i) => i);
  return {
    kernel: productKernel(kind, layers, packed, tile),
    buffers: [
      clock.random(16 * room + 4 * room * words),
      ...numbers.map(weight),
      ...numbers.map(() => clock.random(4 * rows * columns)),
    ],
    parameters: {
      rows,
      columns,
      codesAt: room,
      words,
      fours: inputs / 4,
      groupsAt: panelWords / 4,
      columnsAt: panelWords / 4,
      groupFours: inputs / 4,
    },
    groups: [Math.ceil(columns / tile.columns), Math.ceil(rows / tile.rows), layers],
  };
}

function floatWork(
  clock: DispatchClock,
  kind: 'fp32' | 'fp16',
  { rows, columns, inputs }: ProductShape,
  tile: TileShape,
): Work {
  const bytes = kind === 'fp32' ? 4 : 2;
  return {
    kernel: productKernel(kind, 1, true, tile),
    buffers: [
      clock.random(bytes * rows * inputs),
      clock.random(bytes * columns * inputs, 2),
      clock.random(4 * columns, 3),
      clock.random(4 * rows * columns),
    ],
    parameters: { rows, columns, inputs, xStride: inputs },
    groups: [Math.ceil(columns / tile.columns), Math.ceil(rows / tile.rows), 1],
  };
}
