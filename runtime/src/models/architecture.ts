/**
 * An architecture says what a checkpoint must hold, which of it is a linear layer that may be quantized, and how the
 * network runs over an engine. Shapes have room for frames; image models have one.
 */
import type { AttentionPrecision, Engine, Linear, Tensor } from '../engines/engine.ts';
import type { TextEmbedding } from '../text/conditioning.ts';

/** A linear layer by its canonical name; its tensors are `<name>.weight` [out, in] and `<name>.bias` [out]. */
export interface LinearSpec {
  readonly name: string;
  readonly outFeatures: number;
  readonly inFeatures: number;
  readonly bias: boolean;
  /** What lies together in a shard: a block's number, or a part outside the blocks. */
  readonly group: string;
  /**
   * `modulation` layers make the vectors of adaLN, once a request: many bytes, little work. `island` layers stay float
   * unless a recipe names them: embedders, projections of conditions, the last layer.
   */
  readonly role: 'body' | 'modulation' | 'island';
  /** Where what it reads can be scaled by channel beforehand, so that quantization can leave a balance there. */
  readonly scaledBy?: InputScale;
}

/**
 * The layer of which an input is the output, or an average of outputs, channel by channel; or, with `shift` and `scale`,
 * the layer which makes the vectors of the input's modulation norm(x) (1 + scale) + shift: their numbers among its outputs.
 */
export interface InputScale {
  readonly linear: string;
  readonly modulation?: { readonly shift: number; readonly scale: number };
}

/** Any other tensor: stored in float, given to the model as numbers. */
export interface TableSpec {
  readonly name: string;
  readonly shape: readonly number[];
  readonly group: string;
}

export interface ModelWeights {
  /** How attention is computed. */
  readonly attention: AttentionPrecision;
  linear(name: string): Linear;
  table(name: string): Tensor;
  /** A table's numbers on the host. */
  values(name: string): Float32Array;
  /** Where blocks come late, or in turn; without it all are there. */
  readonly arrivals?: BlockArrivals;
}

/** Layers and tables of blocks that are not there are not to be asked for, nor those that were given before kept. */
export interface BlockArrivals {
  /**
   * Waits for a block, which stays until the next one is asked for. Blocks are asked for in their order, all of them in
   * each forward.
   */
  ready(block: number): Promise<void>;
  /** Whether what blocks make of the conditions is kept from the first forward on, or made anew in each. */
  readonly keep: boolean;
}

/** What the network is told about every picture of a batch, the same in all steps. */
export interface Conditions {
  readonly batch: number;
  readonly frames: number;
  readonly height: number;
  readonly width: number;
  readonly text?: TextEmbedding;
  readonly labels?: readonly number[];
  /** PixArt's micro-conditions: resolution [batch, 2] and aspect ratio [batch]. */
  readonly resolution?: Float32Array;
  readonly aspectRatio?: Float32Array;
}

export interface ForwardHooks {
  /** Called between the parts of blocks, tens of milliseconds at most: yields to the host and throws to stop. */
  tick?(): Promise<void>;
  /** Sees the output of each block. */
  observe?(block: string, output: Tensor): Promise<void>;
}

export interface Session {
  /** sample [batch, inChannels, frames, height, width], timesteps [batch] -> [batch, outChannels, frames, height, width]. */
  forward(sample: Float32Array, timesteps: ArrayLike<number>, hooks?: ForwardHooks): Promise<Float32Array>;
}

export interface Transformer {
  /**
   * Computes what all steps share, and for the timesteps of `schedule` what depends on them alone. Everything it holds
   * lies above the engine's mark at the time of the call.
   */
  begin(conditions: Conditions, schedule?: readonly number[]): Session;
}

/** What a pipeline must know of a configured network. */
export interface Geometry {
  readonly inChannels: number;
  /** Channels of the output; twice `inChannels` where a variance is learned, which samplers ignore. */
  readonly outChannels: number;
  /** Height and width of a sample are multiples of it. */
  readonly patchSize: number;
  /** Channels of an attention head. */
  readonly headWidth: number;
  readonly sampleSize: number;
  /** Only `sampleSize` can be run: the positions were learned or stored. */
  readonly fixedSize: boolean;
  readonly conditioning:
    | { readonly kind: 'text'; readonly channels: number; readonly microConditions: boolean }
    | { readonly kind: 'class'; readonly classes: number };
}

export interface ConfiguredArchitecture {
  readonly geometry: Geometry;
  readonly linears: readonly LinearSpec[];
  readonly tables: readonly TableSpec[];
  build(weights: ModelWeights, engine: Engine): Transformer;
}

export interface Architecture {
  /** Class names by which configs call it. */
  readonly names: readonly string[];
  /** Raises `config-unsupported` naming every option that is not implemented. */
  configure(config: Readonly<Record<string, unknown>>): ConfiguredArchitecture;
}
