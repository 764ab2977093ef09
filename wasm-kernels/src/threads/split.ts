/**
 * How the call of a kernel is cut into calls that touch different outputs. A kernel that is not in the table runs on one
 * thread. No output depends on where the cuts are: every row, and every column of a product, is computed by itself.
 */
import { type KernelExports, linearScratchBytes } from '../load.ts';
import { MAX_CHUNKS } from './control.ts';

type Arguments = readonly number[];
export type KernelName = keyof KernelExports;

interface Axis {
  /** Which argument counts what is divided. */
  readonly size: number;
  /** Cuts are at multiples of it. */
  readonly unit: number;
  /** No chunk may begin before and end after a multiple of it, unless it begins and ends at one. */
  readonly period?: (args: Arguments) => number;
  /** Changes the arguments, already copied, to those of a chunk that begins at `start`. */
  readonly begin: (args: number[], start: number) => void;
}

export interface Split {
  /** Nanoseconds that a call takes, roughly: measured with the fastest variant, so that none is thought dearer than it is. */
  readonly cost: (args: Arguments) => number;
  /** The first that has as many units as there are threads is divided. */
  readonly axes: readonly Axis[];
  /** An argument that is scratch: every thread needs its own. */
  readonly scratch?: { readonly index: number; readonly bytes: (args: Arguments) => number };
}

/** 16 floats of output are a cache line: threads that write the same line wait for each other. */
const COLUMNS = 16;
/** Rows of a tile of the products. */
const TILE = 6;
const ROW_RECORD = 16;
const COLUMN_RECORD = 128;
/** Of a query of float attention. */
const STATE = 16;

const elements = (nanoseconds: number) => (a: Arguments) => nanoseconds * a[0] * a[1];

// (m, n, groups, a, rows, panels, columns, out, outStride, scratch, bits, size, steps, stepStride)
const linear: Split = {
  cost: (a) => (a[0] * a[1] * 4 * a[2]) / 100,
  axes: [
    {
      size: 1,
      unit: COLUMNS,
      begin: (a, column) => {
        a[5] += (column / 8) * a[2] * 4 * a[10];
        a[6] += (column / 8) * COLUMN_RECORD;
        a[7] += 4 * column;
        a[12] += (column / 8) * a[13];
      },
    },
    {
      size: 0,
      unit: TILE,
      begin: (a, row) => {
        a[3] += row * 4 * a[2];
        a[4] += row * ROW_RECORD;
        a[7] += row * a[8];
      },
    },
  ],
  scratch: { index: 9, bytes: (a) => linearScratchBytes(a[0], a[2]) },
};

// (m, n, k, a, aStride, panels, panelStride, rowStride, bias, out, outStride, tail)
const gemm: Split = {
  cost: (a) => (a[0] * a[1] * a[2]) / 20,
  axes: [
    {
      size: 1,
      unit: COLUMNS,
      begin: (a, column) => {
        a[5] += (column / 8) * a[6];
        if (a[8] !== 0) a[8] += 4 * column;
        a[9] += 4 * column;
      },
    },
    {
      size: 0,
      unit: TILE,
      begin: (a, row) => {
        a[3] += row * a[4];
        a[9] += row * a[10];
      },
    },
  ],
  scratch: { index: 11, bytes: () => 64 },
};

/** Passes over rows, whose first two arguments are rows and columns. */
function rows(cost: number, begin: Axis['begin'], more: Partial<Pick<Axis, 'period' | 'unit'>> = {}): Split {
  return { cost: elements(cost), axes: [{ size: 0, unit: 1, begin, ...more }] };
}

/** Moves the arguments `at` by `row` rows of float32 [cols]. */
const floats = (args: number[], row: number, ...at: number[]) => {
  for (const index of at) args[index] += 4 * row * args[1];
};

/** Moves the arguments `at` to the vector of `row`. */
const vectors = (args: number[], row: number, every: number, stride: number, ...at: number[]) => {
  for (const index of at) args[index] += Math.floor(row / args[every]) * args[stride];
};

// (rows, cols, x, xStride, line, balance, codes, records, steps)
const quantizeRows = (cost: number): Split => ({
  ...rows(cost, (a, row) => {
    a[2] += row * a[3];
    a[6] += row * a[1];
    a[7] += row * ROW_RECORD;
  }),
  scratch: { index: 4, bytes: (a) => 4 * a[1] },
});

export const SPLITS: { readonly [name in KernelName]?: Split } = {
  linear_u7: linear,
  linear_u8: linear,
  gemm_f32: gemm,
  // (rows, cols, x, shift, scale, rowsPerVector, vectorStride, eps, out)
  norm_modulate: rows(
    0.6,
    (a, row) => {
      floats(a, row, 2, 8);
      vectors(a, row, 5, 6, 3, 4);
    },
    { period: (a) => a[5] },
  ),
  // (rows, cols, x, shift, scale, rowsPerVector, vectorStride, eps, line, balance, codes, records, steps)
  norm_modulate_quantize: {
    ...rows(
      1,
      (a, row) => {
        floats(a, row, 2);
        vectors(a, row, 5, 6, 3, 4);
        a[10] += row * a[1];
        a[11] += row * ROW_RECORD;
      },
      { period: (a) => a[5] },
    ),
    scratch: { index: 8, bytes: (a) => 4 * a[1] },
  },
  gelu: rows(1.5, (a, row) => floats(a, row, 2, 3)),
  silu: rows(1.5, (a, row) => floats(a, row, 2, 3)),
  quantize: quantizeRows(0.3),
  gelu_quantize: quantizeRows(1.4),
  // (rows, order, block, x, factors, flips, line, out)
  rotate_rows: {
    cost: (a) => a[0] * a[1] * a[2] * (0.5 + 0.045 * a[1]),
    axes: [
      {
        size: 0,
        unit: 1,
        begin: (a, row) => {
          for (const index of [3, 7]) a[index] += 4 * row * a[1] * a[2];
        },
      },
    ],
    scratch: { index: 6, bytes: (a) => 4 * a[1] * a[2] },
  },
  // (rows, cols, y, gate, rowsPerVector, vectorStride, x)
  gated_add: rows(
    0.2,
    (a, row) => {
      floats(a, row, 2, 6);
      vectors(a, row, 4, 5, 3);
    },
    { period: (a) => a[4] },
  ),
  // (rows, cols, x, table, tableRows, out)
  add_rows: rows(
    0.2,
    (a, row) => {
      floats(a, row, 2, 5);
      floats(a, row % a[4], 3);
    },
    { period: (a) => a[4] },
  ),
  // (rows, cols, x, bias, scale, states, last)
  softmax_block: rows(1.4, (a, row) => {
    floats(a, row, 2);
    a[5] += row * STATE;
  }),
  // (rows, cols, y, states, out, outStride)
  add_block: rows(0.2, (a, row) => {
    floats(a, row, 2);
    a[3] += row * STATE;
    a[4] += row * a[5];
  }),
  // (rows, cols, x, xStride, codes, records)
  softmax_quantize: rows(1, (a, row) => {
    a[2] += row * a[3];
    a[4] += row * a[1];
    a[5] += row * ROW_RECORD;
  }),
  // (keys, depth, x, xStride, scale, bias, shift, panels, columns)
  quantize_keys: rows(
    0.35,
    (a, key) => {
      a[2] += key * a[3];
      a[5] += 4 * key;
      a[7] += key * a[1];
      a[8] += (key / 8) * COLUMN_RECORD;
    },
    { unit: 8 },
  ),
  // (keys, depth, x, xStride, shift, panels, columns): channels are divided, because ranges are over keys.
  quantize_values: {
    cost: elements(0.6),
    axes: [
      {
        size: 1,
        unit: 8,
        begin: (a, channel) => {
          a[2] += 4 * channel;
          a[5] += (channel / 8) * 32 * Math.ceil(a[0] / 4);
          a[6] += (channel / 8) * COLUMN_RECORD;
        },
      },
    ],
  },
  // (rows, cols, x, xStride, out)
  transpose_panels: rows(
    1,
    (a, row) => {
      a[2] += row * a[3];
      floats(a, row, 4);
    },
    { unit: 8 },
  ),
};

export interface SplitOptions {
  readonly threads: number;
  /** Bytes of scratch that a worker has. */
  readonly scratchBytes: number;
  /** A chunk should take as many nanoseconds, so that handing it over is little beside it. */
  readonly leastCost: number;
}

/** Chunks of a thread in a long call, of so many nanoseconds at least: one that is held up leaves them to the others. */
const CHUNKS_PER_THREAD = 4;
const LONG_CHUNK = 40_000;

/** The calls that together do what `args` ask for, at most MAX_CHUNKS; undefined for a call that one thread should do. */
export function split(
  { cost, axes, scratch }: Split,
  args: Arguments,
  { threads, scratchBytes, leastCost }: SplitOptions,
): number[][] | undefined {
  const worth = Math.floor(cost(args) / leastCost);
  if (worth < 2 || (scratch !== undefined && scratch.bytes(args) > scratchBytes)) return undefined;
  const axis = axes.find(({ size, unit }) => args[size] >= threads * unit) ?? axes.at(-1)!;
  const most = Math.min(CHUNKS_PER_THREAD * threads, MAX_CHUNKS >> 1);
  const long = Math.floor(cost(args) / LONG_CHUNK);
  const pieces = Math.min(worth, Math.max(threads, Math.min(long - (long % threads), most)));
  const total = args[axis.size];
  const starts = cuts(total, pieces, axis.unit, axis.period?.(args) ?? total);
  if (starts.length < 2) return undefined;
  return starts.map((start, i) => {
    const chunk = [...args];
    axis.begin(chunk, start);
    chunk[axis.size] = (starts[i + 1] ?? total) - start;
    return chunk;
  });
}

function cuts(total: number, pieces: number, unit: number, period: number): number[] {
  let size = Math.ceil(total / (pieces * unit)) * unit;
  if (size > period) size -= size % period;
  const starts: number[] = [];
  for (let start = 0; start < total; ) {
    starts.push(start);
    start = size >= period ? start + size : Math.min(start + size, start - (start % period) + period);
  }
  return starts;
}
