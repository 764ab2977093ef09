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
  /** Of a pass of one dispatch. */
  readonly nanoseconds: number;
  /** 10^12 multiplications with addition a second. */
  readonly rate: number;
  /** So many a second did the loop of dot4I8Packed, in turns with the product. */
  readonly ceiling?: number;
  /** The same of one of `COPIES` dispatches in one pass, one after another, each with an output of its own. */
  readonly inRow?: RowFigure;
}

export interface RowFigure {
  readonly tile: string;
  readonly nanoseconds: number;
  readonly rate: number;
  readonly ceiling?: number;
}

/** Dispatches of a pass that are timed together. */
export const COPIES = 16;

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
  rest: Pick<TileShape, 'teams' | 'buffers'> = {},
): TileShape => ({ rows, columns, threadRows, threadColumns, depth, ...rest });

export const tileName = ({ rows, columns, threadRows, threadColumns, depth, teams = 1, buffers = 2 }: TileShape) =>
  `${rows}x${columns}/${threadRows}x${threadColumns}/${depth}${teams > 1 ? `/${teams} teams` : ''}${buffers === 1 ? '/1 buffer' : ''}`;

/** Of one shape, in turns with each other and, unless told otherwise, with the loop of dot4I8Packed where there is that. */
export async function timeProducts(
  clock: DispatchClock,
  shape: ProductShape,
  packed: boolean,
  candidates: readonly Candidate[],
  { rounds, ceilings = packed }: { readonly rounds?: number; readonly ceilings?: boolean } = {},
): Promise<ProductFigure[]> {
  const { rows, columns, inputs, layers = 1 } = shape;
  const host = { limits: clock.device.limits, software: false };
  const mark = clock.mark;
  const used = candidates.map(({ kind, tile }) => {
    const coded = kind === 'W4A8' || kind === 'W8A8';
    const own = () =>
      coded ? codesTile(rows, columns * layers, paddedWords(inputs), host) : floatTile(rows, columns, host);
    const taken = tile ?? own();
    const work = coded ? codesWork(clock, kind, shape, packed, taken) : floatWork(clock, kind, shape, taken);
    return { kind, taken, work };
  });
  const works: Work[] = used.map(({ work }) => work);
  const ceiling = ceilings ? packedDotWork(clock) : undefined;
  const loop = ceiling ? [ceiling] : [];
  await clock.prepare([...works, ...loop].map(({ kernel }) => kernel));
  const times = await clock.time([...loop, ...works], rounds);
  const outputs = Array.from({ length: COPIES }, () => clock.blank(4 * rows * columns));
  // Products of several layers have several outputs.
  const copies = works.map((work) =>
    layers > 1 ? [work] : outputs.map((out) => ({ ...work, buffers: [...work.buffers.slice(0, -1), out] })),
  );
  const rowTimes = await clock.timePasses(
    [loop, ...copies].filter((pass) => pass.length > 0),
    rounds,
  );
  clock.clear(mark);
  const rateOf = (nanoseconds: number) => (rows * columns * inputs * layers) / nanoseconds / 1000;
  const ceilingOf = (list: number[]) => ceiling && ceiling.products / list.shift()! / 1000;
  const [apart, together] = [ceilingOf(times), ceilingOf(rowTimes)];
  return used.map(({ kind, taken }, i) => {
    const tile = tileName(taken);
    const each = rowTimes[i] / copies[i].length;
    const inRow = { tile, nanoseconds: each, rate: rateOf(each), ceiling: together };
    return { ...shape, kind, tile, nanoseconds: times[i], rate: rateOf(times[i]), ceiling: apart, inRow };
  });
}

const paddedWords = (inputs: number) => Math.ceil(inputs / 4 / ROW_WORDS) * ROW_WORDS;

export const productKernel = (kind: ProductKind, layers: number, packed: boolean, shape: TileShape): Kernel =>
  kind === 'fp32'
    ? floatGemm({ weight: 'f32', grouped: false, shape, into: 'new', aligned: true, vectors: true })
    : kind === 'fp16'
      ? halfGemm(shape)
      : codesGemm({ bits: kind === 'W4A8' ? 4 : 8, grouped: false, packed, shape, layers, into: 'new', aligned: true });

export function codesWork(
  clock: DispatchClock,
  kind: 'W4A8' | 'W8A8',
  { rows, columns, inputs, layers = 1 }: ProductShape,
  packed: boolean,
  tile: TileShape,
): Work {
  const bits = kind === 'W4A8' ? 4 : 8;
  const room = Math.ceil(rows / ROW_ROOM) * ROW_ROOM;
  const words = paddedWords(inputs);
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
