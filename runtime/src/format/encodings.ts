/**
 * How a tensor's values lie in a shard. One record per encoding says everything about it: bytes for a shape,
 * and the plain decoder that is the meaning of the bytes. FORMAT.md gives the same in words.
 *
 * `u8-8x4`, `u6-8x4`, `u5-8x4` and `u4-8x4` hold the codes of a quantized weight [N, K] in the order in which every
 * matrix kernel reads them: panels of 8 output columns; in a panel, groups of 4 consecutive k; in a group, column by
 * column, 4 codes each (32 codes). N is padded to a multiple of 8 and K to a multiple of 4, with code 0.
 */
import type { CodeBits } from '../engines/engine.ts';
import { EdgeDitError, unknownName } from '../errors.ts';
import { halfToFloat } from './half.ts';

export const PANEL_COLUMNS = 8;
export const PANEL_DEPTH = 4;

export interface Encoding {
  readonly name: string;
  /** Of the codes of a quantized weight. */
  readonly bits?: CodeBits;
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

/** Bits of a code, from bit `from` on, that lie in a byte from bit `shift` on; `at` counts from the first byte of its group. */
interface CodePart {
  readonly at: number;
  readonly mask: number;
  readonly from: number;
  readonly shift: number;
}

/** Of each of the 32 codes of a group, where its bits lie. */
const groupLayout = (bits: CodeBits): CodePart[][] =>
  Array.from({ length: 32 }, (_, lane) => {
    if (bits === 8) return [{ at: lane, mask: 255, from: 0, shift: 0 }];
    // 16 bytes of low bits: columns 0-3 in the low halves, 4-7 in the high ones.
    const low = { at: lane & 15, mask: 15, from: 0, shift: (lane >> 4) * 4 };
    const upper = bits - 4;
    if (upper === 0) return [low];
    // A plane of what is left: byte j has codes j, j + its length, ..., from its lowest bits on.
    const plane = 4 * upper;
    const shift = Math.floor(lane / plane) * upper;
    return [low, { at: 16 + (lane % plane), mask: (1 << upper) - 1, from: 4, shift }];
  });

/** Lays the row-major codes [N, K], each below 2^bits, out in panels: the inverse of the decoder of `u<bits>-8x4`. */
export function panelsFromCodes(codes: Uint8Array, rows: number, depth: number, bits: CodeBits = 8): Uint8Array {
  const out = new Uint8Array((panelCodes([rows, depth]) * bits) / 8);
  const layout = groupLayout(bits);
  for (let n = 0; n < rows; n++) {
    for (let k = 0; k < depth; k++) {
      const index = panelIndex(n, k, depth);
      for (const { at, mask, from, shift } of layout[index & 31]) {
        out[(index >> 5) * 4 * bits + at] |= ((codes[n * depth + k] >> from) & mask) << shift;
      }
    }
  }
  return out;
}

function panels(bits: CodeBits): Encoding {
  const layout = groupLayout(bits);
  return {
    name: `u${bits}-8x4`,
    bits,
    byteLength: (shape) => (panelCodes(shape) * bits) / 8,
    decode: (bytes, shape) => {
      const { rows, depth } = matrix(shape);
      const out = new Uint8Array(rows * depth);
      for (let n = 0; n < rows; n++) {
        for (let k = 0; k < depth; k++) {
          const index = panelIndex(n, k, depth);
          for (const { at, mask, from, shift } of layout[index & 31]) {
            out[n * depth + k] |= ((bytes[(index >> 5) * 4 * bits + at] >> shift) & mask) << from;
          }
        }
      }
      return out;
    },
  };
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
    const out = new Float32Array(elements(shape));
    for (let i = 0; i < out.length; i++) out[i] = halfToFloat(view.getUint16(2 * i, true));
    return out;
  },
};

const u8: Encoding = {
  name: 'u8',
  byteLength: elements,
  decode: (bytes, shape) => bytes.slice(0, elements(shape)),
};

export const encodings: readonly Encoding[] = [f32, f16, u8, panels(8), panels(6), panels(5), panels(4)];

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
