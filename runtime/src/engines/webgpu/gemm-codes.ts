/**
 * The quantized linear: rows of codes times panels of codes, in sums of integers, and in float32 only what the format's
 * formula has around them. Layers that read the same rows can share a dispatch.
 *
 * Rows lie in one buffer of vec4<u32>: a record (scale, zero, sum of code - zero, nothing) of each row, then the codes,
 * four to a word, rows padded with zeros to `ROW_WORDS` words. A layer is one buffer too: panels, records of groups,
 * then a record (scale, zero, sum of codes, bias) of each column; zeros and codes of 8 bits less 128.
 */
import type { CodeBits } from '../engine.ts';
import { dots, groupElements, panelType, returnRecord, signedColumns, wordsOfElement } from './codes.ts';
import { type Into, OUTPUT_PARAMETERS, writeTile } from './gemm-output.ts';
import {
  range,
  rowOperand,
  rowsOfThread,
  type TileOperand,
  type TileProgram,
  type TileShape,
  teamsOf,
  tileColumn,
  tileLoop,
  tileMemory,
  tilePlace,
  tileRow,
  tileThreads,
} from './gemm-tile.ts';
import { defineKernel, type Kernel, kernelFamily, kernelName } from './kernel.ts';

/** Words to a multiple of which rows of codes are padded: no step of a tile goes beyond. */
export const ROW_WORDS = 16;
/** Rows to a multiple of which a buffer of codes has room: tiles read, and do not use, what is beyond the last. */
export const ROW_ROOM = 128;
/** Layers of one dispatch: with their outputs and the rows, 7 of the 8 buffers that every device binds. */
export const MOST_LAYERS = 3;

export interface CodesGemm {
  readonly bits: CodeBits;
  readonly grouped: boolean;
  /** dot4I8Packed instead of plain multiplications. */
  readonly packed: boolean;
  readonly shape: TileShape;
  readonly layers: number;
  readonly into: Into;
  /** Columns are a multiple of 4. */
  readonly aligned: boolean;
}

export const codesGemm = kernelFamily(defineCodesGemm);

function defineCodesGemm(options: CodesGemm): Kernel {
  const { bits, packed, shape, layers, into, aligned } = options;
  const element = panelType(bits);
  const out = aligned ? 'vec4<f32>' : 'f32';
  const names = range(layers);
  // Before the loop where there are registers for them: few threads wait for what they read last.
  const early = teamsOf(shape) > 1;
  const program: TileProgram = {
    shape,
    scalar: 'u32',
    sum: 'i32',
    a: rowOperand(shape.rows, shape.depth, 'u32', (row, k) => `a[codesAt + ${row} * rowVectors + ${k} / 4u]`),
    b: panelOperand(options),
    multiply: (sum, a, b) => `${sum} += dotSigned(${a}, ${b});`,
  };
  return defineKernel({
    name: kernelName('gemm-codes', { ...options, shape: Object.values(shape).join('x') }),
    parameters: {
      rows: 'u32',
      columns: 'u32',
      /** vec4 of the row records, before the codes. */
      codesAt: 'u32',
      /** Padded words of a row. */
      words: 'u32',
      /** Groups of four inputs of a panel. */
      fours: 'u32',
      /** Elements before the records of groups, and before those of columns. */
      groupsAt: 'u32',
      columnsAt: 'u32',
      /** Inputs of a group divided by 4. */
      groupFours: 'u32',
      ...OUTPUT_PARAMETERS,
    },
    buffers: {
      a: 'array<vec4<u32>>',
      ...Object.fromEntries(names.map((i) => [`w${i}`, `array<${element}>`])),
      ...Object.fromEntries(names.map((i) => [`out${i}`, `rw array<${out}>`])),
      ...(into === 'gate' ? { gate: 'array<f32>' } : {}),
    },
    body: `
${dots(packed)}
${tileMemory(program)}
var<private> layer: u32;
${choose(layers, `fn weight(at: u32) -> ${element}`, (i) => `return w${i}[at];`)}
fn weightVector(at: u32) -> vec4<u32> {
  ${returnRecord(bits, (at) => `weight(${at})`)}
}
${choose(layers, `fn getOut(at: u32) -> ${out}`, (i) => `return out${i}[at];`)}
${choose(layers, `fn setOut(at: u32, value: ${out})`, (i) => `out${i}[at] = value;`)}
fn valueOf(sum: i32, row: vec4<u32>, column: vec4<u32>) -> f32 {
  let total = sum - bitcast<i32>(row.y) * bitcast<i32>(column.z) - bitcast<i32>(column.y) * bitcast<i32>(row.z);
  return exact(f32(total) * (bitcast<f32>(column.x) * bitcast<f32>(row.x))) + bitcast<f32>(column.w);
}
@compute @workgroup_size(${tileThreads(shape)})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) t: u32) {
  layer = group.z;
  let row0 = group.y * ${shape.rows}u;
  let column0 = group.x * ${shape.columns}u;
  let rowVectors = p.words / 4u;
  let codesAt = p.codesAt + row0 * rowVectors;
  let lastPanel = (p.columns - 1u) / 8u;
  let steps = p.words / ${shape.depth}u;
  ${tilePlace(shape)}
  ${early ? records(options) : ''}
  ${tileLoop(program)}
  ${early ? '' : records(options)}
  ${writeTile({ shape, into, aligned, perRow: '', value: (i, j) => `valueOf(s${i}_${j}, r${i}, c${j})` })}
}`,
  });
}

/** A function that does the same with the buffer of one layer or another. */
function choose(layers: number, signature: string, body: (i: number) => string): string {
  const cases = range(layers).map((i) => (i === layers - 1 ? `default: { ${body(i)} }` : `case ${i}u: { ${body(i)} }`));
  return `${signature} { ${layers === 1 ? body(0) : `switch (layer) { ${cases.join(' ')} }`} }`;
}

/** Panels of codes, eight columns and four inputs an item. */
function panelOperand({ bits, grouped, shape }: CodesGemm): TileOperand {
  const elements = range(groupElements(bits));
  const words = wordsOfElement(bits);
  const item = (index: string) => ({ panel: `(${index} / ${shape.depth}u)`, four: `(${index} % ${shape.depth}u)` });
  return {
    along: false,
    items: (shape.columns / 8) * shape.depth,
    declare: (suffix) =>
      [
        ...elements.map((i) => `var w${suffix}_${i}: ${panelType(bits)};`),
        grouped ? `var r${suffix}: vec4<u32>;` : '',
      ].join(' '),
    load: (suffix, index) => {
      const { panel, four } = item(index);
      const from = `let p${suffix} = min(column0 / 8u + ${panel}, lastPanel); let g${suffix} = k0 + ${four};`;
      const loads = elements.map(
        (i) => `w${suffix}_${i} = weight((p${suffix} * p.fours + g${suffix}) * ${bits / words}u + ${i}u);`,
      );
      const record = `(p${suffix} * (p.fours / p.groupFours) + g${suffix} / p.groupFours)`;
      const groups = `r${suffix} = weightVector(p.groupsAt + ${record} * ${4 / words}u);`;
      return `{ ${from} ${loads.join(' ')} ${grouped ? groups : ''} }`;
    },
    store: (suffix, index, at) => {
      const { panel, four } = item(index);
      const columns = signedColumns(bits, (i) => `w${suffix}_${i}`, grouped ? `r${suffix}` : undefined);
      return range(2)
        .map((half) => {
          const values = columns.slice(4 * half, 4 * half + 4).join(', ');
          return `${at(four, `${panel} * 2u + ${half}u`)} = vec4<u32>(${values});`;
        })
        .join(' ');
    },
  };
}

/** Of a thread's rows and columns. */
function records({ bits, shape }: CodesGemm): string {
  const perColumn = 4 / wordsOfElement(bits);
  const columns = range(shape.threadColumns).map((j) => {
    const column = `min(column0 + ${tileColumn(shape, j)}, p.columns - 1u)`;
    return `let c${j} = weightVector(p.columnsAt + ${column} * ${perColumn}u);`;
  });
  const rows = range(rowsOfThread(shape)).map((i) => `let r${i} = a[row0 + ${tileRow(shape, i)}];`);
  return [...columns, ...rows].join('\n  ');
}
