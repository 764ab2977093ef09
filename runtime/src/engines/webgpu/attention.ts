/** Attention over heads, in float32 or in int8: which kernels, on what. */
import { EdgeDitError } from '../../errors.ts';
import type { AttentionOptions, Tensor } from '../engine.ts';
import { codedAttention, codedAttentionShape, HEAD_THREADS, headRows, VALUE_COLUMNS } from './attention-codes.ts';
import { floatAttention, floatAttentionShape } from './attention-float.ts';
import { rowGroups } from './layers.ts';
import type { MultiplyHost, Place } from './multiply.ts';

type Rows = Tensor & Place;

export interface AttentionTensors {
  readonly q: Rows;
  readonly k: Rows;
  readonly v: Rows;
  readonly out: Rows;
}

/** What attention needs of its engine; what it takes it does not give back. */
export interface AttentionHost extends MultiplyHost {
  take(bytes: number): GPUBuffer;
  upload(buffer: GPUBuffer, data: Float32Array): void;
}

export function attend(
  tensors: AttentionTensors,
  { heads, keyBias, precision }: AttentionOptions,
  host: AttentionHost,
): void {
  const { q, k } = tensors;
  const [batch, tokens, width] = q.shape;
  const keys = k.shape[1];
  const depth = width / heads;
  if (depth % 4 !== 0) {
    throw new EdgeDitError('config-unsupported', `attention needs heads of a multiple of 4 channels, got ${depth}`);
  }
  let bias: GPUBuffer | undefined;
  if (keyBias) {
    bias = host.take(keyBias.byteLength);
    host.upload(bias, keyBias);
  }
  const sizes = { batch, tokens, keys, depth, heads };
  if (precision === 'int8') attendCodes(tensors, sizes, bias, host);
  else attendFloats(tensors, sizes, bias, host);
}

interface Sizes {
  readonly batch: number;
  readonly tokens: number;
  readonly keys: number;
  readonly depth: number;
  readonly heads: number;
}

function attendFloats(tensors: AttentionTensors, sizes: Sizes, bias: GPUBuffer | undefined, host: AttentionHost): void {
  const { q, k, v, out } = tensors;
  const { batch, tokens, keys, depth, heads } = sizes;
  const shape = floatAttentionShape(depth, host.limits.maxComputeWorkgroupStorageSize, batch * heads * tokens, keys);
  const kernel = floatAttention({ depth, ...shape, biased: bias !== undefined });
  const parameters = {
    tokens,
    keys,
    width: (heads * depth) / 4,
    qAt: q.at / 4,
    kAt: k.at / 4,
    vAt: v.at / 4,
    scale: 1 / Math.sqrt(depth),
  };
  const buffers = [q.buffer, k.buffer, v.buffer, ...(bias ? [bias] : []), out.buffer];
  host.dispatch(kernel, buffers, parameters, [Math.ceil(tokens / (shape.down * shape.queries)), heads, batch]);
}

function attendCodes(tensors: AttentionTensors, sizes: Sizes, bias: GPUBuffer | undefined, host: AttentionHost): void {
  const { q, k, v, out } = tensors;
  const { batch, tokens, keys, depth, heads } = sizes;
  const coded = (source: Rows, kind: 'queries' | 'keys', count: number): GPUBuffer[] => {
    const rows = count * batch * heads;
    const buffers = [host.take(16 * rows), host.take(4 * Math.ceil(count / 4) * batch * heads * depth)];
    // The scale of the scores is part of the keys'.
    const parameters = { count: rows, tokens: count, heads, xAt: source.at / 4, scale: 1 / Math.sqrt(depth) };
    const groups = rowGroups(Math.ceil(rows / HEAD_THREADS));
    host.dispatch(headRows({ depth, kind }), [source.buffer, ...buffers], parameters, groups);
    return buffers;
  };
  const queries = coded(q, 'queries', tokens);
  const given = coded(k, 'keys', keys);
  const channels = batch * heads * depth;
  const words = Math.ceil(keys / 4);
  const values = [host.take(16 * channels), host.take(4 * channels * words)];
  const vectors = (heads * depth) / 4;
  const columns = { keys, vectors, xAt: v.at / 4, words };
  host.dispatch(VALUE_COLUMNS, [v.buffer, ...values], columns, [vectors, batch, 1]);
  const shape = codedAttentionShape(depth, host.limits.maxComputeWorkgroupStorageSize, tokens);
  const kernel = codedAttention({ depth, ...shape, biased: bias !== undefined, packed: host.packed });
  const buffers = [...queries, ...given, ...values, ...(bias ? [bias] : []), out.buffer];
  const groups = [Math.ceil(tokens / (shape.down * shape.queries)), heads, batch] as const;
  host.dispatch(kernel, buffers, { tokens, keys, heads, keyWords: words }, groups);
}
