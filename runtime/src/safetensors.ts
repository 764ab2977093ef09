/**
 * Reads and writes safetensors. In: a file's bytes, or its first bytes and its length. Out: metadata and tensors.
 * A header is hostile until checked: every count, length, shape and offset is checked before it is used, and the
 * tensors must tile the data exactly (no overlap, no hole), so that no byte has two meanings and none is hidden.
 * Format: https://github.com/huggingface/safetensors#format
 */
import { EdgeDitError } from './errors.ts';
import { halfToFloat } from './format/half.ts';

/** Bytes of an element. Types narrower than a byte and 8-bit floats are not read. */
const ELEMENT_BYTES = {
  F64: 8,
  I64: 8,
  U64: 8,
  F32: 4,
  I32: 4,
  U32: 4,
  F16: 2,
  BF16: 2,
  I16: 2,
  U16: 2,
  I8: 1,
  U8: 1,
  BOOL: 1,
} as const;

export type SafetensorsDtype = keyof typeof ELEMENT_BYTES;

/** 65,536 tensors need about 10 MB of header; parsed JSON takes several times its text. */
export const MAX_HEADER_BYTES = 16 * 2 ** 20;
/** The largest published transformers have a few thousand tensors. */
export const MAX_TENSORS = 65_536;
/** PyTorch models use at most 5 axes (3-D convolutions); numpy stops at 64. */
export const MAX_RANK = 8;
/** Module paths are below 200 characters; names are repeated in messages and manifests. */
export const MAX_NAME_LENGTH = 512;

const LENGTH_BYTES = 8;
const METADATA = '__metadata__';

export interface SafetensorsTensor {
  readonly dtype: SafetensorsDtype;
  readonly shape: readonly number[];
  /** Little-endian, row-major; of any alignment. */
  readonly bytes: Uint8Array;
}

export interface SafetensorsEntry {
  readonly dtype: SafetensorsDtype;
  readonly shape: readonly number[];
  /** Offset of the first byte from the start of the file. */
  readonly begin: number;
  /** Offset behind the last byte from the start of the file. */
  readonly end: number;
}

export interface SafetensorsHeader {
  readonly metadata: Readonly<Record<string, string>>;
  /** In the order of their bytes in the file. */
  readonly tensors: ReadonlyMap<string, SafetensorsEntry>;
}

export interface Safetensors {
  readonly metadata: Readonly<Record<string, string>>;
  readonly tensors: ReadonlyMap<string, SafetensorsTensor>;
}

/**
 * How many bytes from the start of the file hold the header, length field included.
 * @param bytes at least the first 8 bytes of the file
 * @throws `checkpoint-malformed` when the length is beyond the file or `MAX_HEADER_BYTES`
 */
export function safetensorsHeaderEnd(bytes: Uint8Array, fileLength: number, file = 'safetensors file'): number {
  if (fileLength < LENGTH_BYTES || bytes.length < LENGTH_BYTES) {
    throw malformed(file, `has ${Math.min(fileLength, bytes.length)} bytes, which is too short for a header`);
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, LENGTH_BYTES);
  const length = view.getUint32(0, true) + view.getUint32(4, true) * 2 ** 32;
  if (length > MAX_HEADER_BYTES)
    throw malformed(file, `header length is ${length}, at most ${MAX_HEADER_BYTES} is read`);
  const end = LENGTH_BYTES + length;
  if (end > fileLength) throw malformed(file, `header ends at byte ${end}, but the file has ${fileLength}`);
  return end;
}

/**
 * The header alone, for a reader that fetches tensors by range.
 * @param bytes the file's beginning, `safetensorsHeaderEnd()` bytes or more
 * @param fileLength bytes of the whole file, against which offsets are checked
 * @param file name for messages
 * @throws `checkpoint-malformed` naming the file, the tensor and the field
 */
export function parseSafetensorsHeader(
  bytes: Uint8Array,
  fileLength: number,
  file = 'safetensors file',
): SafetensorsHeader {
  const dataStart = safetensorsHeaderEnd(bytes, fileLength, file);
  if (bytes.length < dataStart) throw malformed(file, `header needs ${dataStart} bytes, ${bytes.length} were given`);
  const json = parseJson(bytes.subarray(LENGTH_BYTES, dataStart), file);
  const names = Object.keys(json).filter((name) => name !== METADATA);
  if (names.length > MAX_TENSORS) throw malformed(file, `has ${names.length} tensors, at most ${MAX_TENSORS} are read`);
  const entries = names.map((name): [string, SafetensorsEntry] => [
    name,
    parseEntry(name, json[name], dataStart, fileLength, file),
  ]);
  entries.sort(([, a], [, b]) => a.begin - b.begin || a.end - b.end);
  let expected = dataStart;
  for (const [name, { begin, end }] of entries) {
    if (begin !== expected) {
      const fault = begin < expected ? 'overlaps the tensor before it' : 'leaves a hole before it';
      throw malformed(
        file,
        `tensor ${quote(name)} field data_offsets ${fault}: starts at ${begin - dataStart}, expected ${expected - dataStart}`,
      );
    }
    expected = end;
  }
  if (expected !== fileLength) {
    throw malformed(file, `tensors end at byte ${expected}, but the file has ${fileLength}; it is cut off or padded`);
  }
  return { metadata: parseMetadata(json, file), tensors: new Map(entries) };
}

/**
 * A whole file. The tensors are views of `bytes`.
 * @throws `checkpoint-malformed` naming the file, the tensor and the field
 */
export function parseSafetensors(bytes: Uint8Array, file = 'safetensors file'): Safetensors {
  const { metadata, tensors } = parseSafetensorsHeader(bytes, bytes.length, file);
  const views = new Map<string, SafetensorsTensor>();
  for (const [name, { dtype, shape, begin, end }] of tensors) {
    views.set(name, { dtype, shape, bytes: bytes.subarray(begin, end) });
  }
  return { metadata, tensors: views };
}

/** A tensor's values as float32, nearest where the type is wider. Always a copy. */
export function toFloat32({ dtype, bytes }: SafetensorsTensor): Float32Array {
  const count = bytes.length / ELEMENT_BYTES[dtype];
  const out = new Float32Array(count);
  if (dtype === 'F32') {
    new Uint8Array(out.buffer).set(bytes);
    return out;
  }
  if (dtype === 'BF16') {
    const bits = new Uint32Array(out.buffer);
    for (let i = 0; i < count; i++) bits[i] = ((bytes[2 * i] << 16) | (bytes[2 * i + 1] << 24)) >>> 0;
    return out;
  }
  if (dtype === 'F16') {
    for (let i = 0; i < count; i++) out[i] = halfToFloat(bytes[2 * i] | (bytes[2 * i + 1] << 8));
    return out;
  }
  const read = readerOf(dtype, bytes);
  for (let i = 0; i < count; i++) out[i] = read(i);
  return out;
}

/**
 * A tensor's values as int32.
 * @throws `invalid-argument` for a type of fractions, or a value beyond 32 bits
 */
export function toInt32({ dtype, bytes }: SafetensorsTensor): Int32Array {
  if (dtype === 'F64' || dtype === 'F32' || dtype === 'F16' || dtype === 'BF16') {
    throw new EdgeDitError('invalid-argument', `a tensor of ${dtype} has no integers; expected an integer type.`);
  }
  const out = new Int32Array(bytes.length / ELEMENT_BYTES[dtype]);
  const read = readerOf(dtype, bytes);
  for (let i = 0; i < out.length; i++) {
    const value = read(i);
    out[i] = value;
    if (out[i] !== value) {
      throw new EdgeDitError('invalid-argument', `element ${i} is ${value}, which is beyond 32 bits.`);
    }
  }
  return out;
}

/** A float32 tensor for `serializeSafetensors`. */
export function float32Tensor(data: Float32Array, shape: readonly number[]): SafetensorsTensor {
  return { dtype: 'F32', shape, bytes: new Uint8Array(data.buffer, data.byteOffset, data.byteLength) };
}

/**
 * The bytes of a file with these tensors: widest types first, then by name, so that every tensor is aligned to its
 * element and equal content gives equal bytes.
 * @throws `invalid-argument` for a tensor whose bytes do not fit its shape
 */
export function serializeSafetensors(
  tensors: ReadonlyMap<string, SafetensorsTensor>,
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array<ArrayBuffer> {
  const sorted = [...tensors].sort(
    ([a, { dtype: left }], [b, { dtype: right }]) =>
      ELEMENT_BYTES[right] - ELEMENT_BYTES[left] || (a < b ? -1 : a > b ? 1 : 0),
  );
  const fields: [string, unknown][] = [];
  if (Object.keys(metadata).length > 0) fields.push([METADATA, metadata]);
  let offset = 0;
  for (const [name, { dtype, shape, bytes }] of sorted) {
    const expected = shape.reduce((product, size) => product * size, ELEMENT_BYTES[dtype]);
    if (expected !== bytes.length || name === METADATA) {
      throw new EdgeDitError(
        'invalid-argument',
        `tensor ${quote(name)} cannot be written: ${dtype} [${shape}] is ${expected} bytes, got ${bytes.length}.`,
      );
    }
    fields.push([name, { dtype, shape, data_offsets: [offset, offset + expected] }]);
    offset += expected;
  }
  const text = JSON.stringify(Object.fromEntries(fields));
  const json = new TextEncoder().encode(text);
  const dataStart = LENGTH_BYTES + Math.ceil(json.length / 8) * 8;
  const out = new Uint8Array(dataStart + offset);
  new DataView(out.buffer).setUint32(0, dataStart - LENGTH_BYTES, true);
  out.fill(0x20, LENGTH_BYTES, dataStart);
  out.set(json, LENGTH_BYTES);
  let position = dataStart;
  for (const [, { bytes }] of sorted) {
    out.set(bytes, position);
    position += bytes.length;
  }
  return out;
}

function readerOf(
  dtype: Exclude<SafetensorsDtype, 'F32' | 'F16' | 'BF16'>,
  bytes: Uint8Array,
): (index: number) => number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  switch (dtype) {
    case 'F64':
      return (i) => view.getFloat64(8 * i, true);
    case 'I64':
      return (i) => Number(view.getBigInt64(8 * i, true));
    case 'U64':
      return (i) => Number(view.getBigUint64(8 * i, true));
    case 'I32':
      return (i) => view.getInt32(4 * i, true);
    case 'U32':
      return (i) => view.getUint32(4 * i, true);
    case 'I16':
      return (i) => view.getInt16(2 * i, true);
    case 'U16':
      return (i) => view.getUint16(2 * i, true);
    case 'I8':
      return (i) => view.getInt8(i);
    case 'U8':
      return (i) => bytes[i];
    case 'BOOL':
      return (i) => (bytes[i] === 0 ? 0 : 1);
  }
}

function parseJson(bytes: Uint8Array, file: string): Record<string, unknown> {
  if (bytes[0] !== 0x7b) throw malformed(file, 'header does not start with "{"');
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw malformed(file, 'header is not JSON', cause);
  }
  return json as Record<string, unknown>;
}

function parseMetadata(json: Record<string, unknown>, file: string): Record<string, string> {
  if (!Object.hasOwn(json, METADATA)) return {};
  const metadata = json[METADATA];
  if (!isRecord(metadata)) throw malformed(file, `field ${METADATA} is not an object`);
  for (const [key, value] of Object.entries(metadata)) {
    if (typeof value !== 'string') throw malformed(file, `field ${METADATA}.${quote(key)} is not a string`);
  }
  return metadata as Record<string, string>;
}

function parseEntry(
  name: string,
  value: unknown,
  dataStart: number,
  fileLength: number,
  file: string,
): SafetensorsEntry {
  const fail = (fault: string) => malformed(file, `tensor ${quote(name)} ${fault}`);
  if (name.length === 0 || name.length > MAX_NAME_LENGTH) {
    throw fail(`has a name of ${name.length} characters, allowed are 1 to ${MAX_NAME_LENGTH}`);
  }
  if (!isRecord(value)) throw fail('is not an object');
  for (const field of Object.keys(value)) {
    if (field !== 'dtype' && field !== 'shape' && field !== 'data_offsets') {
      throw fail(`has an unknown field ${quote(field)}`);
    }
  }
  const { dtype, shape, data_offsets: offsets } = value;
  if (typeof dtype !== 'string' || !Object.hasOwn(ELEMENT_BYTES, dtype)) {
    throw fail(
      `field dtype is ${typeof dtype === 'string' ? quote(dtype) : 'not a string'}, read are ${Object.keys(ELEMENT_BYTES).join(', ')}`,
    );
  }
  if (!isSizes(shape)) throw fail('field shape is not a list of sizes');
  if (shape.length > MAX_RANK) throw fail(`field shape has ${shape.length} axes, at most ${MAX_RANK} are read`);
  let length: number = ELEMENT_BYTES[dtype as SafetensorsDtype];
  for (const size of shape) {
    length *= size;
    if (!Number.isSafeInteger(length)) throw fail(`field shape [${shape}] overflows`);
  }
  if (!isSizes(offsets) || offsets.length !== 2) throw fail('field data_offsets is not a pair of offsets');
  const [begin, end] = offsets;
  if (begin > end || end > fileLength - dataStart) {
    throw fail(`field data_offsets [${begin}, ${end}] is outside the ${fileLength - dataStart} bytes of data`);
  }
  if (end - begin !== length) {
    throw fail(`is ${dtype} [${shape}], ${length} bytes, but field data_offsets gives it ${end - begin}`);
  }
  return { dtype: dtype as SafetensorsDtype, shape, begin: dataStart + begin, end: dataStart + end };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isSizes(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((size) => Number.isSafeInteger(size) && size >= 0);
}

/** Names come from the file: shortened, and control characters escaped, before they enter a message. */
function quote(text: string): string {
  return JSON.stringify(text.length > 100 ? `${text.slice(0, 100)}…` : text);
}

function malformed(file: string, fault: string, cause?: unknown): EdgeDitError {
  return new EdgeDitError('checkpoint-malformed', `${file}: ${fault}.`, cause === undefined ? undefined : { cause });
}
