/**
 * DiT (arXiv 2212.09748): class-conditional, adaLN-zero in every block. Two namings are in use. diffusers'
 * `DiTTransformer2DModel` embeds timestep and class in every block anew; facebookresearch/DiT does it once, stores
 * its positions, and has queries, keys and values in one matrix.
 */
import * as z from 'zod/mini';
import type { Engine, Linear, Tensor } from '../engines/engine.ts';
import { EdgeDitError } from '../errors.ts';
import type {
  Architecture,
  Conditions,
  ConfiguredArchitecture,
  ForwardHooks,
  InputScale,
  LinearSpec,
  ModelWeights,
  Session,
  TableSpec,
  Transformer,
} from './architecture.ts';
import { blockProducts, type WhenMade, whenMade } from './block-products.ts';
import {
  type AttentionLayers,
  attentionLayers,
  attentionLinears,
  checkSize,
  feedForward,
  feedForwardLinears,
  island,
  modulationOf,
  selfAttention,
  timeMlp,
} from './blocks.ts';
import { MAX_CHANNELS, MAX_LAYERS, MAX_SAMPLE_SIZE, MAX_WIDTH, readConfig, size } from './config.ts';
import { positionEmbedding, TIMESTEP_CHANNELS, timestepEmbedding } from './embeddings.ts';
import { patchify, unpatchify } from './patches.ts';
import { scheduledSteps } from './step-vectors.ts';

const MAX_CLASSES = 1_000_000;

const diffusersSchema = z.looseObject({
  num_attention_heads: z._default(size(256), 16),
  attention_head_dim: z._default(size(512), 72),
  in_channels: z._default(size(MAX_CHANNELS), 4),
  out_channels: z.nullish(size(2 * MAX_CHANNELS)),
  num_layers: z._default(size(MAX_LAYERS), 28),
  attention_bias: z._default(z.boolean(), true),
  sample_size: z._default(size(MAX_SAMPLE_SIZE), 32),
  patch_size: z._default(size(64), 2),
  activation_fn: z._default(z.literal('gelu-approximate'), 'gelu-approximate'),
  num_embeds_ada_norm: z._default(size(MAX_CLASSES), 1000),
  norm_type: z._default(z.literal('ada_norm_zero'), 'ada_norm_zero'),
  norm_elementwise_affine: z._default(z.literal(false), false),
  norm_eps: z._default(z.number().check(z.minimum(0), z.maximum(1)), 1e-5),
});

const facebookSchema = z.looseObject({
  input_size: z._default(size(MAX_SAMPLE_SIZE), 32),
  patch_size: z._default(size(64), 2),
  in_channels: z._default(size(MAX_CHANNELS), 4),
  hidden_size: z._default(size(MAX_WIDTH), 1152),
  depth: z._default(size(MAX_LAYERS), 28),
  num_heads: z._default(size(256), 16),
  mlp_ratio: z._default(z.number().check(z.positive(), z.maximum(64)), 4),
  class_dropout_prob: z._default(z.number().check(z.minimum(0), z.maximum(1)), 0.1),
  num_classes: z._default(size(MAX_CLASSES), 1000),
  learn_sigma: z._default(z.boolean(), true),
});

/** Of norms whose eps the config does not set: all of facebookresearch/DiT's, diffusers' norm1 and the last. */
export const EPS = 1e-6;

export interface Dimensions {
  readonly width: number;
  readonly hidden: number;
  readonly depth: number;
  readonly heads: number;
  readonly bias: boolean;
  readonly patch: number;
  readonly inChannels: number;
  readonly outChannels: number;
  readonly sampleSize: number;
  /** Of the norm before the feed forward. */
  readonly eps: number;
  /** Without the one that stands for "none". */
  readonly classes: number;
  /** Rows of the table of classes. */
  readonly labels: number;
  /** One embedder for all blocks, and positions from the checkpoint: facebookresearch/DiT. */
  readonly shared: boolean;
}

/** The network's sizes from its config, in either naming. Raises `config-unsupported`. */
export function dimensions(raw: Readonly<Record<string, unknown>>): Dimensions {
  const d = '_class_name' in raw || 'num_attention_heads' in raw ? diffusersDimensions(raw) : facebookDimensions(raw);
  if (d.width > MAX_WIDTH || d.width % 4 !== 0 || d.width % d.heads !== 0) {
    throw new EdgeDitError(
      'config-unsupported',
      `DiT width ${d.width} must be a multiple of 4 and of its ${d.heads} heads, at most ${MAX_WIDTH}.`,
    );
  }
  return d;
}

function diffusersDimensions(raw: Readonly<Record<string, unknown>>): Dimensions {
  const config = readConfig(diffusersSchema, raw, 'DiTTransformer2DModel');
  const width = config.num_attention_heads * config.attention_head_dim;
  return {
    width,
    hidden: 4 * width,
    depth: config.num_layers,
    heads: config.num_attention_heads,
    bias: config.attention_bias,
    patch: config.patch_size,
    inChannels: config.in_channels,
    outChannels: config.out_channels ?? config.in_channels,
    sampleSize: config.sample_size,
    eps: config.norm_eps,
    classes: config.num_embeds_ada_norm,
    labels: config.num_embeds_ada_norm + 1,
    shared: false,
  };
}

function facebookDimensions(raw: Readonly<Record<string, unknown>>): Dimensions {
  const config = readConfig(facebookSchema, raw, 'DiT');
  return {
    width: config.hidden_size,
    hidden: Math.trunc(config.hidden_size * config.mlp_ratio),
    depth: config.depth,
    heads: config.num_heads,
    bias: true,
    patch: config.patch_size,
    inChannels: config.in_channels,
    outChannels: config.learn_sigma ? 2 * config.in_channels : config.in_channels,
    sampleSize: config.input_size,
    eps: EPS,
    classes: config.num_classes,
    labels: config.num_classes + (config.class_dropout_prob > 0 ? 1 : 0),
    shared: true,
  };
}

/** Canonical name of the embedder that block `i` uses; diffusers' last layer uses block 0's. */
export const embedderOf = (d: Dimensions, i: number) => (d.shared ? 'emb' : `transformer_blocks.${i}.norm1.emb`);

/** The vectors of a block are shift, scale and gate of its attention, then of its feed forward. */
const modulatedBy = (block: string, shift: number): InputScale => {
  return { linear: `${block}.norm1.linear`, modulation: { shift, scale: shift + 1 } };
};

function linearsOf(d: Dimensions): LinearSpec[] {
  const embedder = (name: string, group: string) => [
    island(`${name}.timestep_embedder.linear_1`, d.width, TIMESTEP_CHANNELS, group),
    island(`${name}.timestep_embedder.linear_2`, d.width, d.width, group),
  ];
  const blocks = Array.from({ length: d.depth }, (_, i) => {
    const name = `transformer_blocks.${i}`;
    const group = `block.${i}`;
    return [
      ...(d.shared ? [] : embedder(embedderOf(d, i), group)),
      island(`${name}.norm1.linear`, 6 * d.width, d.width, group, 'modulation'),
      ...attentionLinears(`${name}.attn1`, d.width, d.width, d.bias, group, modulatedBy(name, 0)),
      ...feedForwardLinears(`${name}.ff`, d.width, d.hidden, group, modulatedBy(name, 3)),
    ];
  });
  return [
    island('pos_embed.proj', d.width, d.inChannels * d.patch * d.patch, 'start'),
    ...(d.shared ? embedder('emb', 'start') : []),
    ...blocks.flat(),
    island('proj_out_1', 2 * d.width, d.width, 'end', 'modulation'),
    island('proj_out_2', d.patch * d.patch * d.outChannels, d.width, 'end'),
  ];
}

function tablesOf(d: Dimensions): TableSpec[] {
  const classes = (name: string, group: string): TableSpec => {
    return { name: `${name}.class_embedder.embedding_table.weight`, shape: [d.labels, d.width], group };
  };
  if (!d.shared) return Array.from({ length: d.depth }, (_, i) => classes(embedderOf(d, i), `block.${i}`));
  const tokens = (d.sampleSize / d.patch) * (d.sampleSize / d.patch);
  return [{ name: 'pos_embed.pos_embed', shape: [tokens, d.width], group: 'start' }, classes('emb', 'start')];
}

/** Of some timesteps, one a row. They are asked for while the block is there; the final ones while the first is. */
interface Vectors {
  /** Shift and scale of the last norm [rows, 2 width]. */
  final(): Tensor;
  /** The adaLN vectors of a block [rows, 6 width]. */
  block(i: number): Tensor;
}

interface Block {
  readonly attention: AttentionLayers;
  readonly ff: readonly [Linear, Linear];
}

class DiT implements Transformer {
  readonly #d: Dimensions;
  readonly #weights: ModelWeights;
  readonly #engine: Engine;

  constructor(d: Dimensions, weights: ModelWeights, engine: Engine) {
    this.#d = d;
    this.#weights = weights;
    this.#engine = engine;
  }

  /** The layers of a block that is there. */
  #layers(i: number): Block {
    const weights = this.#weights;
    const name = `transformer_blocks.${i}`;
    return {
      attention: attentionLayers(weights, `${name}.attn1`),
      ff: [weights.linear(`${name}.ff.net.0.proj`), weights.linear(`${name}.ff.net.2`)],
    };
  }

  begin({ batch, frames, height, width, labels }: Conditions, schedule: readonly number[] = []): Session {
    const d = this.#d;
    const engine = this.#engine;
    checkSize(height, width, d.patch);
    const wrong = labels?.find((label) => !Number.isInteger(label) || label < 0 || label >= d.labels);
    if (labels?.length !== batch || wrong !== undefined) {
      throw new EdgeDitError(
        'invalid-request',
        `DiT needs ${batch} class labels in 0..${d.labels - 1}, got ${labels ?? 'none'}.`,
      );
    }
    const tokens = (height / d.patch) * (width / d.patch);
    const positions = this.#positions(height, width);

    const when = whenMade(this.#weights);
    const bytes = 4 * d.width * (2 + 6 * d.depth);
    const steps = scheduledSteps(engine, when === 'each' ? [] : schedule, batch, bytes);
    const scheduled = steps.rows.length > 0 ? this.#vectors(steps.rows, labels, when) : undefined;
    const vectorsOf = (timesteps: ArrayLike<number>): Vectors => {
      const step = steps.find(timesteps);
      if (step < 0 || !scheduled) {
        return this.#vectors(Float32Array.from(timesteps), labels, when === 'now' ? 'now' : 'each');
      }
      const { final, block } = scheduled;
      return { final: () => steps.of(final(), step), block: (i) => steps.of(block(i), step) };
    };

    const forward = async (sample: Float32Array, timesteps: ArrayLike<number>, hooks?: ForwardHooks) => {
      const mark = engine.mark();
      try {
        const shape = { batch, frames, height, width, patch: d.patch };
        const values = patchify(sample, { ...shape, channels: d.inChannels });
        const patches = engine.input(values, [batch * frames, tokens, d.inChannels * d.patch * d.patch]);
        const embedded = engine.apply(this.#weights.linear('pos_embed.proj'), engine.operand(patches));
        const x = engine.add(embedded, positions);
        const vectors = vectorsOf(timesteps);
        let final: Tensor | undefined;
        for (let i = 0; i < d.depth; i++) {
          await hooks?.tick?.();
          await this.#weights.arrivals?.ready(i);
          // The first block's embedder may be what it is made with.
          final ??= vectors.final();
          const inner = engine.mark();
          await this.#block(this.#layers(i), x, engine.reshape(vectors.block(i), [batch, 6, d.width]), hooks);
          engine.release(inner);
          await hooks?.observe?.(`block${i}`, x);
        }
        const pairs = engine.reshape(final!, [batch, 2, d.width]);
        const modulation = { shift: engine.select(pairs, 0), scale: engine.select(pairs, 1) };
        const normed = engine.operand(x, { kind: 'norm', eps: EPS, modulation });
        const out = await engine.read(engine.apply(this.#weights.linear('proj_out_2'), normed));
        return unpatchify(out, { ...shape, channels: d.outChannels });
      } finally {
        engine.release(mark);
      }
    };
    return { forward };
  }

  async #block(block: Block, x: Tensor, vectors: Tensor, hooks?: ForwardHooks): Promise<void> {
    const engine = this.#engine;
    const parts = modulationOf(engine, vectors);
    selfAttention(engine, x, block.attention, parts.attention, this.#d.heads, EPS);
    await hooks?.tick?.();
    feedForward(engine, x, ...block.ff, parts.feedForward, this.#d.eps);
  }

  #vectors(timesteps: Float32Array, labels: readonly number[], when: WhenMade): Vectors {
    const engine = this.#engine;
    const { width, depth, shared } = this.#d;
    const rows = timesteps.length;
    const embedded = shared ? this.#condition(0, timesteps, labels) : undefined;
    const operandOf = (i: number) =>
      engine.operand(embedded ?? this.#condition(i, timesteps, labels), { kind: 'silu' });
    const first = when === 'now' ? operandOf(0) : undefined;
    const product = (i: number, name: string) => {
      const operand = first && (shared || i === 0) ? first : operandOf(i);
      return { operand, linears: [this.#weights.linear(name)] };
    };
    const final = blockProducts(engine, when, 1, () => product(0, 'proj_out_1'), [[rows, 2 * width]]);
    const name = (i: number) => `transformer_blocks.${i}.norm1.linear`;
    const block = blockProducts(engine, when, depth, (i) => product(i, name(i)), [[rows, 6 * width]]);
    return { final: () => final(0)[0], block: (i) => block(i)[0] };
  }

  /** The embedded timestep plus the embedded class, [rows, width]; labels repeat where there are more timesteps. */
  #condition(i: number, timesteps: Float32Array, labels: readonly number[]): Tensor {
    const engine = this.#engine;
    const { width, shared } = this.#d;
    const name = embedderOf(this.#d, i);
    const divisor = TIMESTEP_CHANNELS / 2 - (shared ? 0 : 1);
    const input = engine.input(timestepEmbedding(timesteps, divisor), [timesteps.length, TIMESTEP_CHANNELS]);
    const layer = (part: string) => this.#weights.linear(`${name}.timestep_embedder.${part}`);
    const time = timeMlp(engine, layer('linear_1'), layer('linear_2'), input);
    const table = this.#weights.values(`${name}.class_embedder.embedding_table.weight`);
    const classes = new Float32Array(labels.length * width);
    labels.forEach((label, b) => {
      classes.set(table.subarray(label * width, (label + 1) * width), b * width);
    });
    return engine.add(time, engine.input(classes, [labels.length, width]));
  }

  #positions(height: number, width: number): Tensor {
    const d = this.#d;
    const [rows, columns] = [height / d.patch, width / d.patch];
    if (!d.shared) {
      const grid = { rows, columns, baseSize: d.sampleSize / d.patch, interpolationScale: 1 };
      return this.#engine.input(positionEmbedding(d.width, grid), [rows * columns, d.width]);
    }
    if (height !== d.sampleSize || width !== d.sampleSize) {
      throw new EdgeDitError(
        'invalid-request',
        `this DiT stores its positions: only ${d.sampleSize} x ${d.sampleSize} can be made, got ${height} x ${width}.`,
      );
    }
    return this.#weights.table('pos_embed.pos_embed');
  }
}

export const dit: Architecture = {
  names: ['DiTTransformer2DModel', 'DiT'],
  configure(raw): ConfiguredArchitecture {
    const d = dimensions(raw);
    return {
      geometry: {
        inChannels: d.inChannels,
        outChannels: d.outChannels,
        patchSize: d.patch,
        headWidth: d.width / d.heads,
        sampleSize: d.sampleSize,
        fixedSize: d.shared,
        conditioning: { kind: 'class', classes: d.classes },
      },
      linears: linearsOf(d),
      tables: tablesOf(d),
      build: (weights, engine) => new DiT(d, weights, engine),
    };
  },
};
