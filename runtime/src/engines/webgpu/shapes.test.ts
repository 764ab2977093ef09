/** Every shape in which products and attention can be cut, also those that only large ones take, computes the same. */
import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';
import { gaussianNoise } from '../../noise.ts';
import { nodeGpu } from '../../testing/node-gpu.ts';
import { CANDIDATES, floatAttention, shapeOf } from './attention-float.ts';
import { codesGemm, ROW_ROOM } from './gemm-codes.ts';
import { floatGemm } from './gemm-float.ts';
import { type TileShape, tileBytes } from './gemm-tile.ts';
import { GpuQueue, type Groups, USAGE } from './gpu-queue.ts';
import type { Kernel } from './kernel.ts';
import { CODE_TILES, FLOAT_TILES } from './tiles.ts';

const gpu = await nodeGpu();
const skip = typeof gpu === 'string' ? gpu : false;
const TOLERANCE = 1e-4;

describe('shapes of kernels', { skip }, async () => {
  const adapter = skip ? undefined : await (gpu as GPU).requestAdapter();
  const room = adapter?.limits.maxComputeWorkgroupStorageSize ?? 0;
  const device = await adapter?.requestDevice({ requiredLimits: { maxComputeWorkgroupStorageSize: room } });
  if (!device) return;
  const queue = new GpuQueue(device);
  after(() => {
    queue.close();
    device.destroy();
  });

  const bufferOf = (data: Float32Array): GPUBuffer => {
    const usage = USAGE.storage | USAGE.copySource | USAGE.copyTarget;
    const buffer = device.createBuffer({ size: data.byteLength, usage });
    queue.upload(buffer, data);
    return buffer;
  };
  async function run(
    kernel: Kernel,
    inputs: readonly Float32Array[],
    length: number,
    parameters: Record<string, number>,
    groups: Groups,
  ): Promise<Float32Array> {
    const buffers = [...inputs.map(bufferOf), bufferOf(new Float32Array(length))];
    queue.dispatch(kernel, buffers, parameters, groups);
    const bytes = await queue.read(buffers[buffers.length - 1], 0, 4 * length);
    for (const buffer of buffers) queue.destroy(buffer);
    return new Float32Array(bytes);
  }
  const [rows, columns, inputs] = [70, 72, 256];
  const groupsOf = (tile: TileShape): Groups => [Math.ceil(columns / tile.columns), Math.ceil(rows / tile.rows), 1];
  const name = (shape: object) => Object.values(shape).join(' ');

  const codes = (count: number, factor: number) => Int8Array.from({ length: count }, (_, i) => (i * i * factor) % 127);
  const [x, w] = [codes(rows * inputs, 31), codes(columns * inputs, 17)];
  for (const { shape } of CODE_TILES.filter((tile) => tileBytes(tile.shape) <= room)) {
    it(`codes in tiles ${name(shape)}: the sums of plain loops`, async () => {
      const kernel = codesGemm({
        bits: 8,
        grouped: false,
        packed: false,
        shape,
        layers: 1,
        into: 'new',
        aligned: true,
      });
      const parameters = { rows, columns, codesAt: ROW_ROOM, words: inputs / 4, fours: inputs / 4 };
      const at = (columns * inputs) / 16;
      const layout = { groupsAt: at, columnsAt: at, groupFours: inputs / 4 };
      const operands = [rowsOfCodes(x, rows, inputs), panelsOfCodes(w, columns, inputs)];
      const got = await run(kernel, operands, rows * columns, { ...parameters, ...layout }, groupsOf(shape));
      assert.deepEqual(got, product(x, w, columns, inputs));
    });
  }

  const [a, b] = [gaussianNoise(1, 1, rows * inputs), gaussianNoise(1, 2, columns * inputs)];
  for (const { shape } of FLOAT_TILES.filter((tile) => tileBytes(tile.shape) <= room)) {
    it(`floats in tiles ${name(shape)}: within ${TOLERANCE} of plain loops`, async () => {
      const kernel = floatGemm({
        weight: 'f32',
        grouped: false,
        shape,
        into: 'new',
        aligned: true,
        vectors: true,
      });
      const parameters = { rows, columns, inputs, xStride: inputs };
      const operands = [a, b, new Float32Array(columns)];
      const got = await run(kernel, operands, rows * columns, parameters, groupsOf(shape));
      assertNear(got, product(a, b, columns, inputs));
    });
  }

  const [tokens, keys, heads, depth] = [70, 90, 2, 24];
  const width = heads * depth;
  const [q, k, v] = [tokens, keys, keys].map((count, i) => gaussianNoise(2, i, count * width));
  const bias = gaussianNoise(2, 3, keys).map((value, i) => (i % 7 === 0 ? -10000 : value));
  const wanted = plainAttention(q, k, v, bias, { tokens, keys, heads, depth });
  // Those of few queries are what other tests run.
  for (const candidate of CANDIDATES.filter(({ workgroups }) => workgroups > 0)) {
    const shape = shapeOf(candidate, depth, room);
    if (!shape || shape.across * shape.down > device.limits.maxComputeInvocationsPerWorkgroup) continue;
    const long = adapter?.info.isFallbackAdapter && shape.queries * shape.keys > 16;
    const options = { skip: long ? 'a software GPU takes many seconds to compile it' : false };
    it(
      `attention of heads of ${depth} in shape ${name(shape)}: within ${TOLERANCE} of plain loops`,
      options,
      async () => {
        const kernel = floatAttention({ depth, ...shape, biased: true });
        const parameters = { tokens, keys, width: width / 4, scale: 1 / Math.sqrt(depth) };
        const groups = [Math.ceil(tokens / (shape.down * shape.queries)), heads, 1] as const;
        assertNear(await run(kernel, [q, k, v, bias], tokens * width, parameters, groups), wanted);
      },
    );
  }
});

/** Records of rows (scale 1, zero 0), then codes. */
function rowsOfCodes(x: Int8Array, rows: number, inputs: number): Float32Array {
  const bytes = new Int8Array(16 * ROW_ROOM + ROW_ROOM * inputs);
  const floats = new Float32Array(bytes.buffer);
  for (let i = 0; i < rows; i++) floats[4 * i] = 1;
  bytes.set(x, 16 * ROW_ROOM);
  return floats;
}

/** Panels of eight columns and four inputs, then records of columns (scale 1, zero 0, no bias). */
function panelsOfCodes(w: Int8Array, columns: number, inputs: number): Float32Array {
  const bytes = new Uint8Array(columns * inputs + 16 * columns);
  for (let n = 0; n < columns; n++) {
    for (let k = 0; k < inputs; k++) {
      const at = ((n >> 3) * (inputs / 4) + (k >> 2)) * 32 + (n & 7) * 4 + (k & 3);
      bytes[at] = w[n * inputs + k] + 128;
    }
  }
  const floats = new Float32Array(bytes.buffer);
  for (let n = 0; n < columns; n++) floats[(columns * inputs) / 4 + 4 * n] = 1;
  return floats;
}

function product(x: ArrayLike<number>, w: ArrayLike<number>, columns: number, inputs: number): Float32Array {
  return Float32Array.from({ length: (x.length / inputs) * columns }, (_, at) => {
    const [row, column] = [Math.floor(at / columns) * inputs, (at % columns) * inputs];
    let sum = 0;
    for (let i = 0; i < inputs; i++) sum += x[row + i] * w[column + i];
    return sum;
  });
}

interface Sizes {
  readonly tokens: number;
  readonly keys: number;
  readonly heads: number;
  readonly depth: number;
}

function plainAttention(
  q: Float32Array,
  k: Float32Array,
  v: Float32Array,
  bias: Float32Array,
  { tokens, keys, heads, depth }: Sizes,
): Float32Array {
  const width = heads * depth;
  const out = new Float32Array(tokens * width);
  for (let i = 0; i < tokens; i++) {
    for (let first = 0; first < width; first += depth) {
      const scores = Array.from({ length: keys }, (_, j) => {
        let sum = 0;
        for (let c = first; c < first + depth; c++) sum += q[i * width + c] * k[j * width + c];
        return sum / Math.sqrt(depth) + bias[j];
      });
      const top = Math.max(...scores);
      const weights = scores.map((score) => Math.exp(score - top));
      const total = weights.reduce((sum, weight) => sum + weight, 0);
      for (let c = first; c < first + depth; c++) {
        out[i * width + c] = weights.reduce((sum, weight, j) => sum + weight * v[j * width + c], 0) / total;
      }
    }
  }
  return out;
}

function assertNear(got: Float32Array, wanted: Float32Array): void {
  assert.equal(got.length, wanted.length);
  const norm = Math.hypot(...wanted);
  const distance = Math.hypot(...got.map((value, i) => value - wanted[i]));
  assert.ok(distance <= TOLERANCE * norm, `off by ${distance / norm}`);
}
