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
  readonly weightBits: CodeBits | 32;
}

/** Widths in which weights are stored as codes. */
export type CodeBits = 4 | 5 | 6 | 8;

export type LinearSource = {
  readonly outFeatures: number;
  readonly inFeatures: number;
  readonly bias?: Float32Array;
} & (
  | { readonly kind: 'float' /** Row-major [out, in]. */; readonly weight: Float32Array }
  | {
      readonly kind: 'codes';
      readonly bits: CodeBits;
      /** In the layout of that width, for example `u4-8x4`. */
      readonly panels: Uint8Array;
      /** Where the codes are those of groups: see `CodeGroups`. */
      readonly groups?: CodeGroups;
      /** [out]: one step of a code. */
      readonly scale: Float32Array;
      /** [out]: the code that stands for 0; with groups, the expanded code. */
      readonly zero: Uint8Array;
      /** [in]: activations are multiplied by it before they are rotated and quantized; the weight was divided by it. */
      readonly balance?: Float32Array;
      /** [in]: 0 or 1, the signs of a Hadamard rotation of the activations; the weight was rotated likewise. */
      readonly rotation?: Uint8Array;
      /** Of the activations' codes, 8 where absent; `float` computes with the weights that the codes stand for. */
      readonly activationBits?: ActivationBits;
    }
);

export type ActivationBits = 4 | 5 | 6 | 7 | 8 | 'float';

/**
 * Steps of their own for `size` consecutive inputs, in integers: a stored code q of output n and group g stands for the
 * expanded code multiplier[n, g] * q + base[n, g], which the product and `zero` and `scale` of the output are about. It is
 * at most 127 (measured: 255 gains 1%), so that one form of the relaxed dot serves every host (the two levels of QServe, arXiv 2405.04532).
 */
export interface CodeGroups {
  /** A multiple of 4 that divides the inputs. */
  readonly size: number;
  /** [ceil(out / 8), in / size, 16]: eight multipliers, then eight bases, of the columns of a panel. */
  readonly records: Uint8Array;
}

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
   * are exact sums of integers.
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

  /**
   * Optional: room for layers that come while activations are held, or in turn. An engine whose layers each have a buffer of
   * their own has `{ clear: let the buffers go, fill: (make) => make() }`. Without it a model is loaded whole before it runs,
   * and one that does not fit is refused.
   * @param bytes that the layers take, as `placeBytes` counts them
   */
  place?(bytes: number): Place;

  mark(): number;
  release(mark: number): void;
  input(data: Float32Array, shape: readonly number[]): Tensor;
  read(tensor: Tensor): Promise<Float32Array>;

  operand(source: Tensor, pass?: Operand['pass']): Operand;
  /** The operand after its pass, in float. */
  materialize(operand: Operand): Tensor;
  /** x W^T + bias: [..., in] to [..., out]. */
  apply(linear: Linear, operand: Operand): Tensor;
  /** x += gate * (what `apply` gives) in place; gate [B, channels] for every `rows / B` rows, 1 without it. */
  applyInto(x: Tensor, linear: Linear, operand: Operand, gate?: Tensor): void;
  /** Self- or cross-attention over heads that lie side by side in the channels: q [B, N, H D], k and v [B, L, H D], D a multiple of 4. */
  attention(q: Tensor, k: Tensor, v: Tensor, options: AttentionOptions): Tensor;
  /** x + table, the table's rows repeated as often as x needs: a new tensor. */
  add(x: Tensor, table: Tensor): Tensor;
  /** Tensors of equal outer shape side by side in the channels: a new tensor. */
  concat(parts: readonly Tensor[]): Tensor;
  /** Vector `index` of each [count, channels] of t [B, count, channels]: [B, channels], sharing its memory. */
  select(t: Tensor, index: number): Tensor;
  /** The same values under another shape, sharing memory: of rows that follow each other. */
  reshape(t: Tensor, shape: readonly number[]): Tensor;
}

/** Room in an engine's memory whose layers can be replaced by others. */
export interface Place {
  /** Forgets the layers in it; they must not be used any more. */
  clear(): void;
  /** What `linear` and `constant` make while `make` runs lies here, whatever activations are held. */
  fill<T>(make: () => T): T;
}

/** Rows and channels of a tensor seen as a matrix. */
export function matrixOf({ shape }: Tensor): { rows: number; channels: number } {
  const channels = shape[shape.length - 1];
  return { rows: shape.slice(0, -1).reduce((a, b) => a * b, 1), channels };
}
