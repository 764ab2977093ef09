/**
 * Linear layers of codes in the kernels: their weights in memory as artifacts store them, and their products with rows
 * of codes or of floats. A panel of eight outputs is unpacked at a time, never the whole weight.
 */
import { type Kernels, linearScratchBytes } from '@edge-dit/wasm-kernels';
import { GROUP_RECORD_BYTES } from '../format/code-groups.ts';
import type { LinearSource } from './engine.ts';
import { COLUMN_RECORD_BYTES, LINEAR_ROWS, ROW_RECORD_BYTES, TILE_ROWS } from './wasm-layout.ts';
import type { WasmMemory } from './wasm-memory.ts';

export interface CodedWeight {
  readonly outFeatures: number;
  readonly inFeatures: number;
  readonly product: Kernels['linear_u8'];
  readonly panels: number;
  /** A record of 128 bytes a panel: scales, zeros, sums of codes, biases. */
  readonly columns: number;
  readonly bits: number;
  /** Groups of four inputs that share a record of multipliers and bases, the first record, and bytes between panels' first. */
  readonly size: number;
  readonly steps: number;
  readonly stepStride: number;
}

/** Rows of codes, and a record of 16 bytes for each: scale, sum, zero, and what `multiplyCodes` writes. */
export interface CodedRows {
  readonly codes: number;
  readonly records: number;
}

/** The first of float32 vectors [out], `stride` bytes apart, one for every `every` rows. */
export interface Gate {
  readonly at: number;
  readonly stride: number;
  readonly every: number;
}

/** The `steps` of `linear_u8` for codes of 8 bits without groups: where it reads codes minus 128, a record that says so. */
export function byteSteps({ form }: Kernels, memory: WasmMemory): number {
  if (form !== 'signed') return 0;
  return memory.place(Uint8Array.from({ length: GROUP_RECORD_BYTES }, (_, i) => (i < 8 ? 1 : 128)));
}

/** Puts a weight into memory. */
export function codedWeight(
  kernels: Kernels,
  memory: WasmMemory,
  source: Extract<LinearSource, { kind: 'codes' }>,
): CodedWeight {
  const { outFeatures, inFeatures, bits, groups, activationBits } = source;
  // Expanded codes are at most 127, as those of fewer bits are.
  const wide = bits === 8 && !groups && activationBits !== 'float';
  const size = groups?.size ?? inFeatures;
  const weight: CodedWeight = {
    outFeatures,
    inFeatures,
    product: wide ? kernels.linear_u8 : kernels.linear_u7,
    panels: memory.place(source.panels),
    columns: memory.allocate(COLUMN_RECORD_BYTES * Math.ceil(outFeatures / 8)),
    bits,
    size: size / 4,
    steps: groups ? memory.place(groups.records) : wide ? byteSteps(kernels, memory) : 0,
    stepStride: groups ? (inFeatures / size) * GROUP_RECORD_BYTES : 0,
  };
  const sums = activationBits === 'float' ? undefined : columnSums(memory, weight);
  const length = (COLUMN_RECORD_BYTES / 4) * Math.ceil(outFeatures / 8);
  const floats = memory.f32(weight.columns, length).fill(0);
  const integers = memory.i32(weight.columns, length);
  const shift = wide && kernels.form === 'signed' ? 128 : 0;
  for (let n = 0; n < outFeatures; n++) {
    const at = (n >> 3) * (COLUMN_RECORD_BYTES / 4) + (n & 7);
    floats[at] = source.scale[n];
    integers[at + 8] = source.zero[n] - shift;
    integers[at + 16] = sums?.[n] ?? 0;
    floats[at + 24] = source.bias?.[n] ?? 0;
  }
  return weight;
}

/** The sum of each column's codes, in the form in which the kernel reads them: its own product with a row of ones. */
function columnSums(memory: WasmMemory, weight: CodedWeight): Float32Array {
  const { outFeatures: n, inFeatures: k, columns } = weight;
  const records = memory.f32(columns, (COLUMN_RECORD_BYTES / 4) * Math.ceil(n / 8)).fill(0);
  for (let panel = 0; panel < records.length; panel += COLUMN_RECORD_BYTES / 4) records.fill(1, panel, panel + 8);
  return memory.scratch(() => {
    const codes = memory.allocate(TILE_ROWS * k);
    const record = memory.allocate(ROW_RECORD_BYTES * (1 + TILE_ROWS));
    const out = memory.allocate(4 * n);
    memory.u8(codes, k).fill(1);
    memory.f32(record, 4).set([1, 0, 0, 0]);
    multiplyCodes(memory, weight, { codes, records: record }, 1, out);
    // At most 65,536 codes of 255: exact in float32.
    return memory.f32(out, n).slice();
  });
}

/** out [rows, out] at an address: y, or out + gate * y. */
export function multiplyCodes(
  memory: WasmMemory,
  weight: CodedWeight,
  { codes, records }: CodedRows,
  rows: number,
  out: number,
  gate?: Gate,
): void {
  const { outFeatures: n, inFeatures: k, panels, columns, bits, size, steps, stepStride, product } = weight;
  const scratch = memory.allocate(linearScratchBytes(Math.min(rows, LINEAR_ROWS), k / 4));
  const words = memory.i32(records, 4 * rows);
  for (let i = 0; i < rows; i++) {
    const vector = gate && gate.at + Math.floor(i / gate.every) * gate.stride;
    words[4 * i + 3] = vector ? vector - (out + 4 * n * i) : 0;
  }
  for (let i = 0; i < rows; i += LINEAR_ROWS) {
    const m = Math.min(LINEAR_ROWS, rows - i);
    const [a, record, to] = [codes + i * k, records + ROW_RECORD_BYTES * i, out + 4 * i * n];
    product(m, n, k / 4, a, record, panels, columns, to, 4 * n, scratch, bits, size, steps, stepStride);
  }
  memory.release(scratch);
}

/** out [rows, out] at an address, of rows of float32 `xStride` bytes apart and the weights for which the codes stand. */
export function multiplyFloats(
  { unpack_codes, float_panel, gemm_f32 }: Kernels,
  memory: WasmMemory,
  { outFeatures: n, inFeatures: k, panels, columns, bits, size, steps, stepStride }: CodedWeight,
  x: number,
  xStride: number,
  rows: number,
  out: number,
): void {
  const codes = memory.allocate(8 * k);
  const floats = memory.allocate(32 * k);
  const tail = memory.allocate(64);
  for (let panel = 0; 8 * panel < n; panel++) {
    const record = columns + COLUMN_RECORD_BYTES * panel;
    const [width, biases, to] = [Math.min(8, n - 8 * panel), record + 96, out + 32 * panel];
    unpack_codes(k / 4, panels + panel * k * bits, codes, bits, size, steps + panel * stepStride);
    float_panel(k / 4, codes, record, floats);
    gemm_f32(rows, width, k, x, xStride, floats, 0, 32, biases, to, 4 * n, tail);
  }
  memory.release(codes);
}
