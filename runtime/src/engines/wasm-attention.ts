/**
 * One head of attention in the kernels, in float32 or in int8. What a call needs beside its inputs is allocated when it
 * is prepared, and shared by all heads; the caller releases it.
 */
import { type Kernels, linearScratchBytes } from '@edge-dit/wasm-kernels';
import { EdgeDitError } from '../errors.ts';
import type { Tensor } from './engine.ts';
import { LINEAR_ROWS, ROW_RECORD_BYTES, roundUp8, TILE_ROWS } from './wasm-layout.ts';
import { byteSteps } from './wasm-linear.ts';
import type { WasmMemory } from './wasm-memory.ts';

/** Queries and keys whose float scores are held at once: docs/bench/attention.md says why. */
const BLOCK_ROWS = 96;
const BLOCK_KEYS = 256;

export interface AttentionShape {
  readonly batch: number;
  readonly tokens: number;
  readonly keys: number;
  /** Keys rounded up to 8. */
  readonly columns: number;
  /** Channels of a head. */
  readonly depth: number;
  /** Bytes between tokens. */
  readonly stride: number;
}

export function attentionShape(q: Tensor, k: Tensor, heads: number): AttentionShape {
  const [batch, tokens, width] = q.shape;
  const keys = k.shape[1];
  const depth = width / heads;
  if (depth % 4 !== 0) {
    throw new EdgeDitError('config-unsupported', `attention needs heads of a multiple of 4 channels, got ${depth}`);
  }
  return { batch, tokens, keys, columns: roundUp8(keys), depth, stride: 4 * width };
}

/** Addresses of the first token of a head in q, k, v and the output. */
type AttendHead = (q: number, k: number, v: number, out: number) => void;

/** bias: address of float32 [columns], added to the scores of each key. */
type PrepareAttention = (kernels: Kernels, memory: WasmMemory, shape: AttentionShape, bias: number) => AttendHead;

/** One head in float32: block by block of keys, scores of some rows, their exponentials, their product with the values. */
export const floatAttention: PrepareAttention = (kernels, memory, { tokens, keys, depth, columns, stride }, bias) => {
  const panels = memory.allocate(4 * columns * depth);
  const rows = Math.min(tokens, BLOCK_ROWS);
  const scores = memory.allocate(4 * (rows + TILE_ROWS) * Math.min(columns, BLOCK_KEYS));
  const fresh = Float32Array.from({ length: 4 * rows }, (_, i) => (i & 3 ? 0 : Number.NEGATIVE_INFINITY));
  const states = memory.allocate(fresh.byteLength);
  const partial = memory.allocate(4 * rows * depth);
  const tail = memory.allocate(64);
  const scale = 1 / Math.sqrt(depth);
  const { transpose_panels, gemm_f32, softmax_block, add_block } = kernels;
  return (q, k, v, out) => {
    transpose_panels(keys, depth, k, stride, panels);
    for (let i = 0; i < tokens; i += rows) {
      const m = Math.min(rows, tokens - i);
      const [from, to] = [q + i * stride, out + i * stride];
      memory.f32(states, fresh.length).set(fresh);
      for (let j = 0; j < columns; j += BLOCK_KEYS) {
        const n = Math.min(BLOCK_KEYS, columns - j);
        const last = j + n === columns ? 1 : 0;
        gemm_f32(m, n, depth, from, stride, panels + 4 * j * depth, 32 * depth, 32, 0, scores, 4 * n, tail);
        softmax_block(m, n, scores, bias + 4 * j, scale, states, last);
        gemm_f32(
          m,
          depth,
          Math.min(n, keys - j),
          scores,
          4 * n,
          v + j * stride,
          32,
          stride,
          0,
          partial,
          4 * depth,
          tail,
        );
        add_block(m, depth, partial, states, to, stride);
      }
    }
  };
};

/** One head in int8: keys and values become weights of the quantized linear, once for all rows. */
export const codedAttention: PrepareAttention = (kernels, memory, { tokens, keys, depth, columns, stride }, bias) => {
  const keys4 = (keys + 3) & ~3;
  const rows = Math.min(tokens, LINEAR_ROWS);
  const take = (bytes: number) => memory.allocate(bytes);
  const key = { panels: take(columns * depth), columns: take(16 * columns) };
  const value = { panels: take(roundUp8(depth) * keys4), columns: take(16 * roundUp8(depth)) };
  const [codes, records] = [
    take((rows + TILE_ROWS) * Math.max(depth, keys4)),
    take(ROW_RECORD_BYTES * (rows + TILE_ROWS)),
  ];
  const scores = take(4 * rows * columns);
  const scratch = take(linearScratchBytes(rows, Math.max(depth, keys4) / 4));
  const ones = take(4 * depth);
  memory.f32(ones, depth).fill(1);
  const steps = byteSteps(kernels, memory);
  // Rows without a gate.
  memory.u8(records, ROW_RECORD_BYTES * rows).fill(0);
  const scale = 1 / Math.sqrt(depth);
  const shift = kernels.form === 'signed' ? 128 : 0;
  const { quantize, quantize_keys, quantize_values, softmax_quantize, linear_u8 } = kernels;
  return (q, k, v, out) => {
    quantize_keys(keys, depth, k, stride, scale, bias, shift, key.panels, key.columns);
    quantize_values(keys, depth, v, stride, shift, value.panels, value.columns);
    for (let i = 0; i < tokens; i += rows) {
      const m = Math.min(rows, tokens - i);
      quantize(m, depth, q + i * stride, stride, 0, ones, codes, records, 255);
      linear_u8(
        m,
        columns,
        depth / 4,
        codes,
        records,
        key.panels,
        key.columns,
        scores,
        4 * columns,
        scratch,
        8,
        depth / 4,
        steps,
        0,
      );
      softmax_quantize(m, keys4, scores, 4 * columns, codes, records);
      const target = out + i * stride;
      linear_u8(
        m,
        depth,
        keys4 / 4,
        codes,
        records,
        value.panels,
        value.columns,
        target,
        stride,
        scratch,
        8,
        keys4 / 4,
        steps,
        0,
      );
    }
  };
};
