/** What becomes of the sums of a tile: stored, added to what is there, or added times a gate. */
import { range, rowsOfThread, type TileShape, tileColumn, tileRow } from './gemm-tile.ts';

/** `add`: the output is added to what is there. `gate`: so, times a gate. */
export type Into = 'new' | 'add' | 'gate';

export interface TileOutput {
  readonly shape: TileShape;
  readonly into: Into;
  /** Columns are a multiple of 4, and the output is of vec4. */
  readonly aligned: boolean;
  /** WGSL before the values of a row, which may use `row`. */
  readonly perRow: string;
  /** WGSL of the value of row `i` and column `j` of a thread. */
  readonly value: (i: number, j: number) => string;
}

/** Parameters that the stores read, beside `rows` and `columns`. */
export const OUTPUT_PARAMETERS = { outAt: 'u32', gateAt: 'u32', gateStride: 'u32', rowsOfGate: 'u32' } as const;

/** Reads `row0` and `column0` of the tile; calls getOut(at) and setOut(at, value), and reads `gate` where there is one. */
export function writeTile({ shape, into, aligned, perRow, value }: TileOutput): string {
  const step = aligned ? 4 : 1;
  const rows = range(rowsOfThread(shape)).map((i) => {
    const stores = range(shape.threadColumns / step).map((q) => {
      const values = range(step).map((c) => value(i, step * q + c));
      const whole = aligned ? `vec4<f32>(${values.join(', ')})` : values[0];
      return `{ let column = column0 + ${tileColumn(shape, step * q)};
      if (column < p.columns) { let at = (p.outAt + row * p.columns + column) / ${step}u; ${put(whole, into, step)} } }`;
    });
    return `{ let row = row0 + ${tileRow(shape, i)}; if (row < p.rows) { ${perRow}
    ${stores.join('\n    ')} } }`;
  });
  return rows.join('\n  ');
}

function put(value: string, into: Into, step: number): string {
  if (into === 'new') return `setOut(at, ${value});`;
  if (into === 'add') return `setOut(at, getOut(at) + ${value});`;
  const from = 'p.gateAt + (row / p.rowsOfGate) * p.gateStride + column';
  const gates = range(step).map((c) => `gate[gate0 + ${c}u]`);
  const product = step === 4 ? `exact4(vec4<f32>(${gates.join(', ')}) * ${value})` : `exact(${gates[0]} * ${value})`;
  return `let gate0 = ${from}; setOut(at, getOut(at) + ${product});`;
}
