/**
 * Linear layers of float activations: x W^T + bias in float32, the weight in float32, or in codes that are decoded on their
 * way into workgroup memory.
 */
import type { CodeBits } from '../engine.ts';
import { groupElements, panelType, returnRecord, signedColumns, wordsOfElement } from './codes.ts';
import { type Into, OUTPUT_PARAMETERS, writeTile } from './gemm-output.ts';
import {
  range,
  rowOperand,
  type TileOperand,
  type TileProgram,
  type TileShape,
  tileColumn,
  tileLoop,
  tileMemory,
  tilePlace,
  tileThreads,
} from './gemm-tile.ts';
import { defineKernel, type Kernel, kernelFamily, kernelName } from './kernel.ts';

export interface FloatGemm {
  readonly weight: 'f32' | CodeBits;
  readonly grouped: boolean;
  readonly shape: TileShape;
  readonly into: Into;
  /** Columns are a multiple of 4. */
  readonly aligned: boolean;
  /** Inputs, and where rows of x start, are multiples of 4. */
  readonly vectors: boolean;
}

export const floatGemm = kernelFamily(defineFloatGemm);

function defineFloatGemm(options: FloatGemm): Kernel {
  const { weight, shape, into, aligned, vectors } = options;
  const out = aligned ? 'vec4<f32>' : 'f32';
  const coded = typeof weight === 'number';
  const program: TileProgram = {
    shape,
    scalar: 'f32',
    sum: 'f32',
    a: rowOperand(shape.rows, shape.depth, 'f32', (row, k) => `rowVector(row0 + ${row}, ${k})`),
    b: coded
      ? panelOperand(options, weight)
      : rowOperand(shape.columns, shape.depth, 'f32', (row, k) => `weightVector(column0 + ${row}, ${k})`),
    multiply: (sum, a, b) => `${sum} = fma(${a}, ${b}, ${sum});`,
  };
  return defineKernel({
    name: kernelName('gemm-float', { ...options, shape: Object.values(shape).join('x') }),
    parameters: {
      rows: 'u32',
      columns: 'u32',
      inputs: 'u32',
      xAt: 'u32',
      xStride: 'u32',
      /** Of coded weights, see gemm-codes.ts. */
      fours: 'u32',
      groupsAt: 'u32',
      columnsAt: 'u32',
      groupFours: 'u32',
      ...OUTPUT_PARAMETERS,
    },
    buffers: {
      x: vectors ? 'array<vec4<f32>>' : 'array<f32>',
      w: `array<${coded ? panelType(weight) : vectors ? 'vec4<f32>' : 'f32'}>`,
      ...(coded ? {} : { bias: 'array<f32>' }),
      out: `rw array<${out}>`,
      ...(into === 'gate' ? { gate: 'array<f32>' } : {}),
    },
    body: `
${tileMemory(program)}
fn rowVector(row: u32, k: u32) -> vec4<f32> {
  if (row >= p.rows || k >= p.inputs) { return vec4<f32>(); }
  let at = p.xAt + row * p.xStride + k;
  ${vectors ? 'return x[at / 4u];' : fourOf((i) => `x[at + ${i}u]`)}
}
${coded ? codedFunctions(weight) : floatFunctions(vectors)}
fn getOut(at: u32) -> ${out} { return out[at]; }
fn setOut(at: u32, value: ${out}) { out[at] = value; }
@compute @workgroup_size(${tileThreads(shape)})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) t: u32) {
  let row0 = group.y * ${shape.rows}u;
  let column0 = group.x * ${shape.columns}u;
  ${coded ? 'let lastPanel = (p.columns - 1u) / 8u;' : ''}
  let steps = (p.inputs + ${shape.depth - 1}u) / ${shape.depth}u;
  ${tilePlace(shape)}
  ${tileLoop(program)}
  ${range(shape.threadColumns)
    .map((j) => {
      const column = `min(column0 + ${tileColumn(shape, j)}, p.columns - 1u)`;
      return `let bias${j} = ${coded ? `columnBias(${column})` : `bias[${column}]`};`;
    })
    .join('\n  ')}
  ${writeTile({ shape, into, aligned, perRow: '', value: (i, j) => `(s${i}_${j} + bias${j})` })}
}`,
  });
}

/** Four values of which those beyond the inputs are 0. */
const fourOf = (value: (i: number) => string) =>
  `return vec4<f32>(${range(4)
    .map((i) => `select(0.0, ${value(i)}, k + ${i}u < p.inputs)`)
    .join(', ')});`;

const floatFunctions = (vectors: boolean) => `
fn weightVector(column: u32, k: u32) -> vec4<f32> {
  if (column >= p.columns || k >= p.inputs) { return vec4<f32>(); }
  let at = column * p.inputs + k;
  ${vectors ? 'return w[at / 4u];' : fourOf((i) => `w[at + ${i}u]`)}
}`;

function codedFunctions(bits: CodeBits): string {
  const words = wordsOfElement(bits);
  return `
fn panelVector(at: u32) -> vec4<u32> { ${returnRecord(bits, (at) => `w[${at}]`)} }
fn columnRecord(column: u32) -> vec4<u32> { return panelVector(p.columnsAt + column * ${4 / words}u); }
fn columnBias(column: u32) -> f32 { return bitcast<f32>(columnRecord(column).w); }
fn weightOf(word: u32, input: u32, record: vec4<u32>) -> f32 {
  let code = extractBits(bitcast<i32>(word), 8u * input, 8u);
  return bitcast<f32>(record.x) * f32(code - bitcast<i32>(record.y));
}`;
}

/** Panels of codes, eight columns and four inputs an item, decoded when they are stored. */
function panelOperand({ grouped, shape }: FloatGemm, bits: CodeBits): TileOperand {
  const elements = range(groupElements(bits));
  const words = wordsOfElement(bits);
  const fours = shape.depth / 4;
  return {
    along: false,
    items: (shape.columns / 8) * fours,
    declare: (suffix) => {
      const values = elements.map((i) => `var w${suffix}_${i}: ${panelType(bits)};`).join(' ');
      return `${values} ${grouped ? `var r${suffix}: vec4<u32>;` : ''} var inside${suffix} = false;`;
    },
    load: (suffix, index) => {
      const loads = elements.map((i) => `w${suffix}_${i} = w[(panel * p.fours + four) * ${bits / words}u + ${i}u];`);
      const record = '(panel * (p.fours / p.groupFours) + four / p.groupFours)';
      return `{ let panel = min(column0 / 8u + ${index} / ${fours}u, lastPanel); let four = k0 / 4u + ${index} % ${fours}u;
        inside${suffix} = four < p.fours;
        ${loads.join(' ')} ${grouped ? `r${suffix} = panelVector(p.groupsAt + ${record} * ${4 / words}u);` : ''} }`;
    },
    store: (suffix, index, at) => {
      const columns = signedColumns(bits, (i) => `w${suffix}_${i}`, grouped ? `r${suffix}` : undefined);
      const panel = `(${index} / ${fours}u)`;
      const records = range(8).map((n) => {
        const column = `min(column0 + ${panel} * 8u + ${n}u, p.columns - 1u)`;
        return `let n${n} = columnRecord(${column}); let q${n} = ${columns[n]};`;
      });
      const stores = range(4).flatMap((c) =>
        range(2).map((half) => {
          const values = range(4).map((n) => `weightOf(q${4 * half + n}, ${c}u, n${4 * half + n})`);
          const place = at(`(${index} % ${fours}u) * 4u + ${c}u`, `${panel} * 2u + ${half}u`);
          return `${place} = select(vec4<f32>(), vec4<f32>(${values.join(', ')}), inside${suffix});`;
        }),
      );
      return `{ ${records.join(' ')} ${stores.join(' ')} }`;
    },
  };
}
