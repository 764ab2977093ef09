import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { isEdgeDitError } from './errors.ts';
import {
  float32Tensor,
  MAX_HEADER_BYTES,
  MAX_NAME_LENGTH,
  MAX_RANK,
  MAX_TENSORS,
  parseSafetensors,
  parseSafetensorsHeader,
  type Safetensors,
  type SafetensorsTensor,
  serializeSafetensors,
  toFloat32,
  toInt32,
} from './safetensors.ts';

const WIDTHS = {
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
};

/** A file of that header text and so many data bytes. */
function fileOf(header: unknown, dataBytes: number): Uint8Array {
  const json = new TextEncoder().encode(typeof header === 'string' ? header : JSON.stringify(header));
  const bytes = new Uint8Array(8 + json.length + dataBytes);
  new DataView(bytes.buffer).setUint32(0, json.length, true);
  bytes.set(json, 8);
  return bytes;
}

function refused(bytes: Uint8Array, ...mentions: string[]): void {
  assert.throws(
    () => parseSafetensors(bytes, 'part.safetensors'),
    (error: unknown) => {
      assert.ok(isEdgeDitError(error, 'checkpoint-malformed'), String(error));
      for (const mention of ['part.safetensors', ...mentions]) {
        assert.ok(error.message.includes(mention), `"${error.message}" does not mention "${mention}"`);
      }
      assert.ok(error.message.length < 1000);
      return true;
    },
  );
}

const f32 = (shape: number[], from: number, to: number) => ({ dtype: 'F32', shape, data_offsets: [from, to] });

test('a file that PyTorch wrote is read', async () => {
  const path = new URL('../fixtures/diffusers/dit/transformer/diffusion_pytorch_model.safetensors', import.meta.url);
  const { tensors } = parseSafetensors(await readFile(path));
  const bias = tensors.get('proj_out_1.bias');
  assert.ok(bias !== undefined);
  const values = toFloat32(bias);
  assert.equal(values.length, bias.shape[0]);
  assert.ok(values.every((value) => Number.isFinite(value)) && values.some((value) => value !== 0));
});

test('what is written is read back, aligned to its elements', () => {
  const tensors = new Map<string, SafetensorsTensor>([
    ['ids', { dtype: 'I32', shape: [3], bytes: new Uint8Array(Int32Array.of(1, -2, 2147483647).buffer) }],
    ['flag', { dtype: 'BOOL', shape: [], bytes: Uint8Array.of(1) }],
    ['weight', float32Tensor(Float32Array.of(0.1, -2, 3, 4, 5, 6), [2, 3])],
    ['empty', float32Tensor(new Float32Array(0), [0, 4])],
    ['__proto__', { dtype: 'F64', shape: [1], bytes: new Uint8Array(Float64Array.of(Math.PI).buffer) }],
  ]);
  const bytes = serializeSafetensors(tensors, { prompt: 'röd äpple', __proto: '1' });
  const back = parseSafetensors(bytes);
  assert.deepEqual(back.metadata, { prompt: 'röd äpple', __proto: '1' });
  assert.deepEqual([...back.tensors.keys()].sort(), [...tensors.keys()].sort());
  for (const [name, tensor] of tensors) {
    const { dtype, shape, bytes: data } = back.tensors.get(name)!;
    assert.deepEqual({ dtype, shape, bytes: new Uint8Array(data) }, tensor);
    assert.equal(data.byteOffset % WIDTHS[dtype], 0);
  }
  assert.deepEqual(serializeSafetensors(new Map([...tensors].reverse()), back.metadata), bytes);
});

test('every dtype becomes float32 or int32', () => {
  const of = (dtype: SafetensorsTensor['dtype'], values: ArrayBufferView) => {
    const shifted = new Uint8Array(values.byteLength + 1);
    shifted.set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength), 1);
    return { dtype, shape: [], bytes: shifted.subarray(1) };
  };
  assert.deepEqual([...toFloat32(of('F32', Float32Array.of(1.5, -0.1)))], [1.5, Math.fround(-0.1)]);
  assert.deepEqual([...toFloat32(of('F16', Uint16Array.of(0x3c00, 0xc000, 0x0001)))], [1, -2, 2 ** -24]);
  assert.deepEqual(
    [...toFloat32(of('BF16', Uint16Array.of(0x3f80, 0xc040, 0xff80)))],
    [1, -3, Number.NEGATIVE_INFINITY],
  );
  assert.deepEqual([...toFloat32(of('F64', Float64Array.of(0.1)))], [Math.fround(0.1)]);
  assert.deepEqual([...toFloat32(of('I64', BigInt64Array.of(-5n)))], [-5]);
  assert.deepEqual([...toInt32(of('I64', BigInt64Array.of(-5n, 7n)))], [-5, 7]);
  assert.deepEqual([...toInt32(of('U64', BigUint64Array.of(9n)))], [9]);
  assert.deepEqual([...toInt32(of('I32', Int32Array.of(-1)))], [-1]);
  assert.deepEqual([...toInt32(of('U32', Uint32Array.of(8)))], [8]);
  assert.deepEqual([...toInt32(of('I16', Int16Array.of(-300)))], [-300]);
  assert.deepEqual([...toInt32(of('U16', Uint16Array.of(65535)))], [65535]);
  assert.deepEqual([...toInt32(of('I8', Int8Array.of(-128)))], [-128]);
  assert.deepEqual([...toInt32(of('U8', Uint8Array.of(255)))], [255]);
  assert.deepEqual([...toInt32(of('BOOL', Uint8Array.of(1, 0)))], [1, 0]);
  for (const tensor of [of('F32', Float32Array.of(1)), of('I64', BigInt64Array.of(2n ** 40n))]) {
    assert.throws(
      () => toInt32(tensor),
      (error) => isEdgeDitError(error, 'invalid-argument'),
    );
  }
});

test('limits and inconsistencies are refused by name', () => {
  refused(new Uint8Array(7), 'too short');
  const long = fileOf({}, 0);
  new DataView(long.buffer).setUint32(0, MAX_HEADER_BYTES + 1, true);
  refused(long, 'header length');
  new DataView(long.buffer).setUint32(0, 100, true);
  refused(long, 'header ends');
  new DataView(long.buffer).setUint32(4, 0xffffffff, true);
  refused(long, 'header length');
  refused(fileOf('[]', 0), '{');
  refused(fileOf('{"a":', 0), 'JSON');
  refused(fileOf('{"a":1}', 0), '"a"', 'object');
  refused(fileOf({ w: f32([2], 0, 8) }, 7), '"w"', 'data_offsets');
  refused(fileOf({ w: f32([2], 0, 8) }, 9), 'end at');
  refused(fileOf({ w: f32([3], 0, 8) }, 8), '"w"', '[3]');
  refused(fileOf({ w: f32([2], 8, 0) }, 8), '"w"', 'data_offsets');
  refused(fileOf({ a: f32([2], 0, 8), b: f32([2], 4, 12) }, 12), '"b"', 'overlaps');
  refused(fileOf({ a: f32([2], 0, 8), b: f32([2], 12, 20) }, 20), '"b"', 'hole');
  refused(fileOf({ w: f32([2 ** 40, 2 ** 40], 0, 8) }, 8), '"w"', 'overflows');
  refused(fileOf({ w: f32([-2], 0, 8) }, 8), '"w"', 'shape');
  refused(fileOf({ w: f32([1.5], 0, 6) }, 6), '"w"', 'shape');
  refused(fileOf({ w: f32(new Array(MAX_RANK + 1).fill(1), 0, 4) }, 4), '"w"', 'axes');
  refused(fileOf({ ['n'.repeat(MAX_NAME_LENGTH + 1)]: f32([1], 0, 4) }, 4), 'name');
  refused(fileOf({ w: { dtype: 'F4', shape: [2], data_offsets: [0, 1] } }, 1), '"w"', 'dtype', '"F4"', 'BF16');
  refused(fileOf({ w: { dtype: { toString: 1 }, shape: [2], data_offsets: [0, 1] } }, 1), '"w"', 'dtype');
  refused(fileOf({ w: { dtype: 'constructor', shape: [], data_offsets: [0, 1] } }, 1), '"w"', 'dtype');
  refused(fileOf({ w: { ...f32([1], 0, 4), more: 1 } }, 4), '"w"', 'more');
  refused(fileOf({ __metadata__: { a: 1 }, w: f32([1], 0, 4) }, 4), '__metadata__', '"a"');
  refused(fileOf({ __metadata__: [], w: f32([1], 0, 4) }, 4), '__metadata__');
  refused(fileOf(`{"a":${'['.repeat(200_000)}`, 0), 'JSON');
  const many = Object.fromEntries(Array.from({ length: MAX_TENSORS + 1 }, (_, i) => [`t${i}`, f32([0], 0, 0)]));
  refused(fileOf(many, 0), `${MAX_TENSORS + 1} tensors`);
  const whole = fileOf({ w: f32([1], 0, 4) }, 4);
  assert.throws(
    () => parseSafetensorsHeader(whole.subarray(0, 20), whole.length),
    (error) => isEdgeDitError(error, 'checkpoint-malformed'),
  );
});

/** mulberry32: the seed is printed by the assertion, so a failure can be repeated. */
function randomInts(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

const FRAGMENTS = [
  '"',
  '{',
  '}',
  '[',
  ']',
  ',',
  '-',
  '0',
  '9',
  '1e308',
  'null',
  '"F16"',
  '"BF16"',
  '"shape"',
  '\\u0000',
];
const NUMBERS = ['0', '-1', '4', '24', '9007199254740991', '9007199254740993', '1e3', '1.5', '4294967296'];

function mutate(file: Uint8Array, headerEnd: number, random: (below: number) => number): Uint8Array {
  const kind = random(6);
  if (kind === 0) {
    const copy = file.slice();
    for (let i = random(3); i >= 0; i--) copy[random(headerEnd)] = random(256);
    return copy;
  }
  if (kind === 1) return file.slice(0, random(file.length + 1));
  const text = new TextDecoder().decode(file.subarray(8, headerEnd)).trimEnd();
  const at = random(text.length);
  let changed: string;
  if (kind === 2) changed = text.slice(0, at) + FRAGMENTS[random(FRAGMENTS.length)] + text.slice(at + random(3));
  else if (kind === 3) changed = text.slice(0, at) + text.slice(at + 1 + random(12));
  else {
    // One number of the header becomes another: shapes and offsets that are well-formed but wrong.
    const numbers = [...text.matchAll(/\d+/g)];
    const { index, 0: old } = numbers[random(numbers.length)];
    const next = kind === 4 ? String(random(64)) : NUMBERS[random(NUMBERS.length)];
    changed = text.slice(0, index) + next + text.slice(index + old.length);
  }
  const out = fileOf(changed, file.length - headerEnd);
  out.set(file.subarray(headerEnd), 8 + new TextEncoder().encode(changed).length);
  return out;
}

/** What must hold of anything that is accepted, from the format's definition and not from the parser. */
function assertConsistent({ tensors }: Safetensors, file: Uint8Array, what: string): void {
  const headerEnd = 8 + new DataView(file.buffer, file.byteOffset).getUint32(0, true);
  const covered = new Uint8Array(file.length - headerEnd);
  for (const { dtype, shape, bytes } of tensors.values()) {
    assert.equal(
      bytes.length,
      shape.reduce((product, size) => product * size, WIDTHS[dtype]),
      what,
    );
    const start = bytes.byteOffset - file.byteOffset - headerEnd;
    for (let i = start; i < start + bytes.length; i++) covered[i]++;
  }
  assert.ok(
    covered.every((count) => count === 1),
    what,
  );
}

test('10,000 mutated headers: a typed error or a consistent result', () => {
  const seed = 20261122;
  const random = randomInts(seed);
  const file = serializeSafetensors(
    new Map<string, SafetensorsTensor>([
      ['blocks.0.weight', float32Tensor(new Float32Array(6), [2, 3])],
      ['blocks.0.bias', float32Tensor(new Float32Array(2), [2])],
      ['ids', { dtype: 'I64', shape: [1, 2], bytes: new Uint8Array(16) }],
      ['half', { dtype: 'F16', shape: [4], bytes: new Uint8Array(8) }],
      ['mask', { dtype: 'BOOL', shape: [3], bytes: new Uint8Array(3) }],
    ]),
    { prompt: 'red apple' },
  );
  const headerEnd = 8 + new DataView(file.buffer).getUint32(0, true);
  let accepted = 0;
  const before = process.resourceUsage().maxRSS;
  for (let i = 0; i < 10_000; i++) {
    const mutated = mutate(file, headerEnd, random);
    const what = `seed ${seed}, case ${i}`;
    try {
      const parsed = parseSafetensors(mutated);
      assertConsistent(parsed, mutated, what);
      accepted++;
    } catch (error) {
      if (!isEdgeDitError(error, 'checkpoint-malformed')) throw new Error(`${what}: ${error}`, { cause: error });
    }
  }
  assert.ok(accepted > 100 && accepted < 5000, `${accepted} of 10,000 were accepted`);
  // The files are a few kilobytes; more than this would be allocated by what a header claims.
  const growth = (process.resourceUsage().maxRSS - before) * 1024;
  assert.ok(growth < 96 * 2 ** 20, `memory grew by ${growth} bytes`);
});
