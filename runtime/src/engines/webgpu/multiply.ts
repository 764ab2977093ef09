/** Products as dispatches: the kernel and the tile for rows of codes or of floats, and what is done with the result. */
import { codesGemm } from './gemm-codes.ts';
import { floatGemm } from './gemm-float.ts';
import type { Into } from './gemm-output.ts';
import type { Groups } from './gpu-queue.ts';
import type { Kernel } from './kernel.ts';
import { type GpuLinear, parametersOf } from './layers.ts';
import { codesTile, floatTile, type TileHost } from './tiles.ts';

/** Rows of codes as gemm-codes.ts reads them. */
export interface GpuRows {
  readonly buffer: GPUBuffer;
  /** Padded words of a row, and vectors before the codes. */
  readonly words: number;
  readonly codesAt: number;
}

/** Rows of floats in a buffer: the first value, and from a row to the next, in values. */
export interface Place {
  readonly buffer: GPUBuffer;
  readonly at: number;
  readonly stride: number;
}

/** The result is added to what is there, times gate vectors [count, columns] where there are some. */
export type Gate = 'add' | (Place & { readonly count: number });

export interface MultiplyHost extends TileHost {
  /** dot4I8Packed is there. */
  readonly packed: boolean;
  dispatch(kernel: Kernel, buffers: readonly GPUBuffer[], parameters: Record<string, number>, groups: Groups): void;
}

/** @param layers of equal sizes, each with its output */
export function multiplyCodes(
  host: MultiplyHost,
  { buffer, words, codesAt }: GpuRows,
  rows: number,
  layers: readonly GpuLinear[],
  outputs: readonly Pick<Place, 'buffer' | 'at'>[],
  gate?: Gate,
): void {
  const { outFeatures: columns, coded } = layers[0];
  const { bits, grouped } = coded!;
  const { packed } = host;
  const shape = codesTile(rows, columns * layers.length, words, host);
  const { into, gates, parameters } = gated(gate, rows);
  const aligned = columns % 4 === 0 && outputs[0].at % 4 === 0;
  const kernel = codesGemm({ bits, grouped, packed, shape, layers: layers.length, into, aligned });
  const buffers = [buffer, ...layers.map((layer) => layer.buffer), ...outputs.map((out) => out.buffer), ...gates];
  const sizes = { rows, columns, codesAt, words, outAt: outputs[0].at };
  const groups = [Math.ceil(columns / shape.columns), Math.ceil(rows / shape.rows), layers.length] as const;
  host.dispatch(kernel, buffers, { ...sizes, ...parametersOf(coded!), ...parameters }, groups);
}

export function multiplyFloats(
  host: MultiplyHost,
  layer: GpuLinear,
  x: Place,
  rows: number,
  out: Place,
  gate?: Gate,
): void {
  const { outFeatures: columns, inFeatures: inputs, coded, buffer, bias } = layer;
  const shape = floatTile(rows, columns, host);
  const { into, gates, parameters } = gated(gate, rows);
  const kernel = floatGemm({
    weight: coded?.bits ?? 'f32',
    grouped: coded?.grouped ?? false,
    shape,
    into,
    aligned: columns % 4 === 0 && out.at % 4 === 0,
    vectors: inputs % 4 === 0 && x.at % 4 === 0 && x.stride % 4 === 0,
  });
  const buffers = [x.buffer, buffer, ...(bias ? [bias] : []), out.buffer, ...gates];
  const sizes = { rows, columns, inputs, xAt: x.at, xStride: x.stride, outAt: out.at };
  const layout = coded && parametersOf(coded);
  const groups = [Math.ceil(columns / shape.columns), Math.ceil(rows / shape.rows), 1] as const;
  host.dispatch(kernel, buffers, { ...sizes, ...layout, ...parameters }, groups);
}

interface Gated {
  readonly into: Into;
  readonly gates: readonly GPUBuffer[];
  readonly parameters: Readonly<Record<string, number>>;
}

function gated(gate: Gate | undefined, rows: number): Gated {
  if (gate === undefined) return { into: 'new', gates: [], parameters: {} };
  if (gate === 'add') return { into: 'add', gates: [], parameters: {} };
  const { buffer, at, stride, count } = gate;
  return {
    into: 'gate',
    gates: [buffer],
    parameters: { gateAt: at, gateStride: stride, rowsOfGate: rows / count },
  } as const;
}
