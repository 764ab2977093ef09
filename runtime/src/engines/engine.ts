/**
 * The operations of which every architecture is made. An engine holds weights until it is dropped, and activations
 * in a stack: `mark` remembers its height, `release` gives back what was made since. Operations are synchronous and
 * may be queued; only `read` waits. Every tensor is float32 to the caller; how an engine keeps it is its own affair.
 */
export interface Tensor {
  /** Outermost first; the last is the channel. */
  readonly shape: readonly number[];
}

/** A linear layer in the engine's memory. */
export interface Linear {
  readonly outFeatures: number;
  readonly inFeatures: number;
  readonly weightBits: 4 | 8 | 32;
}

export type LinearSource = {
  readonly outFeatures: number;
  readonly inFeatures: number;
  readonly bias?: Float32Array;
} & (
  | { readonly kind: 'float' /** Row-major [out, in]. */; readonly weight: Float32Array }
  | {
      readonly kind: 'codes';
      readonly bits: 4 | 8;
      /** In the `u4-8x4` or `u8-8x4` layout. */
      readonly panels: Uint8Array;
      /** [out]: one step of a code. */
      readonly scale: Float32Array;
      /** [out]: the code that stands for 0. */
      readonly zero: Uint8Array;
      /** [in]: activations are multiplied by it before they are quantized; the weight was divided by it. */
      readonly balance?: Float32Array;
    }
);

/** An adaLN modulation: vectors [B, channels] for every `rows / B` rows of the input. */
export interface Modulation {
  readonly shift: Tensor;
  readonly scale: Tensor;
}

/**
 * What a linear layer reads: a tensor, and the pass between it and the product, which engines fuse with
 * quantization. An operand that several layers share is computed once.
 */
export interface Operand {
  readonly source: Tensor;
  readonly pass:
    | { readonly kind: 'none' }
    | { readonly kind: 'gelu' }
    | { readonly kind: 'silu' }
    | { readonly kind: 'norm'; readonly eps: number; readonly modulation?: Modulation };
}

export interface AttentionOptions {
  readonly heads: number;
  /** Added to the scores of each key, [B, L]. */
  readonly keyBias?: Float32Array;
  /**
   * `int8`: queries and keys in int8 by token, probabilities in int8 by token, values in int8 by channel; both products
   * are exact sums of integers. The width of a head must be a multiple of 4.
   */
  readonly precision: AttentionPrecision;
}

export type AttentionPrecision = 'float' | 'int8';

export interface Engine {
  readonly name: string;
  /** Bytes that the engine holds now. */
  readonly bytes: number;

  linear(source: LinearSource): Linear;
  /** A tensor that lives as long as the engine. Only while no activation is held. */
  constant(data: Float32Array, shape: readonly number[]): Tensor;

  mark(): number;
  release(mark: number): void;
  input(data: Float32Array, shape: readonly number[]): Tensor;
  read(tensor: Tensor): Promise<Float32Array>;

  operand(source: Tensor, pass?: Operand['pass']): Operand;
  /** The operand after its pass, in float. */
  materialize(operand: Operand): Tensor;
  /** x W^T + bias: [..., in] to [..., out]. */
  apply(linear: Linear, operand: Operand): Tensor;
  /** Self- or cross-attention over heads that lie side by side in the channels: q [B, N, H D], k and v [B, L, H D]. */
  attention(q: Tensor, k: Tensor, v: Tensor, options: AttentionOptions): Tensor;
  /** x + table, the table's rows repeated as often as x needs: a new tensor. */
  add(x: Tensor, table: Tensor): Tensor;
  /** x += gate * y in place; gate [B, channels] for every `rows / B` rows, 1 without it. */
  accumulate(x: Tensor, y: Tensor, gate?: Tensor): void;
  /** Tensors of equal outer shape side by side in the channels: a new tensor. */
  concat(parts: readonly Tensor[]): Tensor;
  /** Vector `index` of each [count, channels] of t [B, count, channels]: [B, channels], sharing its memory. */
  select(t: Tensor, index: number): Tensor;
  /** The same values under another shape, sharing memory. */
  reshape(t: Tensor, shape: readonly number[]): Tensor;
}

/** Rows and channels of a tensor seen as a matrix. */
export function matrixOf({ shape }: Tensor): { rows: number; channels: number } {
  const channels = shape[shape.length - 1];
  return { rows: shape.slice(0, -1).reduce((a, b) => a * b, 1), channels };
}
