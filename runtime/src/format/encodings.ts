/**
 * How a tensor's values lie in a shard. One record per encoding says everything about it: bytes for a shape,
 * and the plain decoder that is the meaning of the bytes. FORMAT.md gives the same in words.
 *
 * `u8-8x4` and `u4-8x4` hold the codes of a quantized weight [N, K] in the order in which every matrix kernel
 * reads them: panels of 8 output columns; in a panel, groups of 4 consecutive k; in a group, column by column,
 * 4 codes each (32 codes). N is padded to a multiple of 8 and K to a multiple of 4, with code 0.
 */
import { EdgeDitError, unknownName } from '../errors.ts';
import { halfToFloat } from './half.ts';

export const PANEL_COLUMNS = 8;
export const PANEL_DEPTH = 4;

export interface Encoding {
  readonly name: string;
  /** Bytes of a tensor of that shape, padding of the panels included. */
  byteLength(shape: readonly number[]): number;
  /** The values in row-major order: floats, or the unsigned codes of a quantized weight. */
  decode(bytes: Uint8Array, shape: readonly number[]): Float32Array | Uint8Array;
}

const elements = (shape: readonly number[]) => shape.reduce((product, size) => product * size, 1);
const roundUp = (value: number, multiple: number) => Math.ceil(value / multiple) * multiple;

function matrix(shape: readonly number[]): { rows: number; depth: number } {
  if (shape.length !== 2)
    throw new EdgeDitError('manifest-invalid', `a panel encoding needs a shape [N, K], got [${shape}]`);
  return { rows: shape[0], depth: shape[1] };
}

/** Index of the code of weight [n, k] among the codes of a panel tensor with `depth` = K. */
export function panelIndex(n: number, k: number, depth: number): number {
  const groups = Math.ceil(depth / PANEL_DEPTH);
  const panel = Math.floor(n / PANEL_COLUMNS);
  return ((panel * groups + (k >> 2)) * PANEL_COLUMNS + (n & 7)) * PANEL_DEPTH + (k & 3);
}

const panelCodes = (shape: readonly number[]) => {
  const { rows, depth } = matrix(shape);
  return roundUp(rows, PANEL_COLUMNS) * roundUp(depth, PANEL_DEPTH);
};

function decodePanels(shape: readonly number[], code: (index: number) => number): Uint8Array {
  const { rows, depth } = matrix(shape);
  const out = new Uint8Array(rows * depth);
  for (let n = 0; n < rows; n++) {
    for (let k = 0; k < depth; k++) out[n * depth + k] = code(panelIndex(n, k, depth));
  }
  return out;
}

/** Lays the row-major codes [N, K] out in panels, a byte a code. The inverse of the `u8-8x4` decoder. */
export function panelsFromCodes(codes: Uint8Array, rows: number, depth: number): Uint8Array {
  const out = new Uint8Array(panelCodes([rows, depth]));
  for (let n = 0; n < rows; n++) {
    for (let k = 0; k < depth; k++) out[panelIndex(n, k, depth)] = codes[n * depth + k];
  }
  return out;
}

/** Where code `index` of a panel tensor lies among nibbles: low halves hold columns 0-3 of a group, high halves 4-7. */
export function nibblesFromPanels(panels: Uint8Array): Uint8Array {
  const out = new Uint8Array(panels.length / 2);
  for (let group = 0; group < panels.length; group += 32) {
    for (let i = 0; i < 16; i++) out[group / 2 + i] = panels[group + i] | (panels[group + 16 + i] << 4);
  }
  return out;
}

const f32: Encoding = {
  name: 'f32',
  byteLength: (shape) => 4 * elements(shape),
  decode: (bytes, shape) => {
    const out = new Float32Array(elements(shape));
    new Uint8Array(out.buffer).set(bytes.subarray(0, out.byteLength));
    return out;
  },
};

const f16: Encoding = {
  name: 'f16',
  byteLength: (shape) => 2 * elements(shape),
  decode: (bytes, shape) => {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    return Float32Array.from({ length: elements(shape) }, (_, i) => halfToFloat(view.getUint16(2 * i, true)));
  },
};

const u8: Encoding = {
  name: 'u8',
  byteLength: elements,
  decode: (bytes, shape) => bytes.slice(0, elements(shape)),
};

const u8Panels: Encoding = {
  name: 'u8-8x4',
  byteLength: panelCodes,
  decode: (bytes, shape) => decodePanels(shape, (i) => bytes[i]),
};

const u4Panels: Encoding = {
  name: 'u4-8x4',
  byteLength: (shape) => panelCodes(shape) / 2,
  decode: (bytes, shape) =>
    decodePanels(shape, (i) => {
      const byte = bytes[(i >> 5) * 16 + (i & 15)];
      return (i & 16) === 0 ? byte & 15 : byte >> 4;
    }),
};

export const encodings = [f32, f16, u8, u8Panels, u4Panels] as const;

export function encodingByName(name: string): Encoding {
  const found = encodings.find((encoding) => encoding.name === name);
  if (found === undefined)
    throw unknownName(
      'encoding',
      name,
      encodings.map((encoding) => encoding.name),
    );
  return found;
}
