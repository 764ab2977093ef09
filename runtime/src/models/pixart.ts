/**
 * PixArt-alpha and PixArt-Sigma (arXiv 2310.00426, 2403.04692) as diffusers' `PixArtTransformer2DModel`: one adaLN
 * for all blocks plus a table in each, self-attention, cross-attention to the text without a norm before it, feed
 * forward. Micro-conditions (resolution, aspect ratio) are added to the timestep's embedding.
 */
import * as z from 'zod/mini';
import type { Engine, Linear, Tensor } from '../engines/engine.ts';
import { EdgeDitError } from '../errors.ts';
import type {
  Architecture,
  Conditions,
  ConfiguredArchitecture,
  ForwardHooks,
  LinearSpec,
  ModelWeights,
  Session,
  TableSpec,
  Transformer,
} from './architecture.ts';
import { blockProducts, whenMade } from './block-products.ts';
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
import { stepVectors } from './step-vectors.ts';

const configSchema = z.looseObject({
  num_attention_heads: z._default(size(256), 16),
  attention_head_dim: z._default(size(512), 72),
  in_channels: z._default(size(MAX_CHANNELS), 4),
  out_channels: z._default(z.nullish(size(2 * MAX_CHANNELS)), 8),
  num_layers: z._default(size(MAX_LAYERS), 28),
  cross_attention_dim: z._default(z.nullish(size(MAX_WIDTH)), 1152),
  attention_bias: z._default(z.boolean(), true),
  sample_size: z._default(size(MAX_SAMPLE_SIZE), 128),
  patch_size: z._default(size(64), 2),
  activation_fn: z._default(z.literal('gelu-approximate'), 'gelu-approximate'),
  norm_elementwise_affine: z._default(z.literal(false), false),
  norm_eps: z._default(z.number().check(z.minimum(0), z.maximum(1)), 1e-6),
  norm_type: z._default(z.literal('ada_norm_single'), 'ada_norm_single'),
  interpolation_scale: z.nullish(z.number().check(z.positive())),
  use_additional_conditions: z.nullish(z.boolean()),
  caption_channels: z.nullish(size(MAX_WIDTH)),
  attention_type: z.nullish(z.literal('default')),
});

/** Of the norm before the last layer; the blocks' is `norm_eps`. */
export const OUTPUT_EPS = 1e-6;
/** The timestep's embedding, and shift, scale and gate of both halves of a block. */
const VECTORS_OF_A_ROW = 7;
/** Added to the scores of hidden text tokens. */
export const MASK_BIAS = -10000;

/** The network's sizes from its config. Raises `config-unsupported`. */
export function dimensions(raw: Readonly<Record<string, unknown>>) {
  const config = readConfig(configSchema, raw, 'PixArtTransformer2DModel');
  const width = config.num_attention_heads * config.attention_head_dim;
  if (width > MAX_WIDTH || width % 4 !== 0) {
    throw new EdgeDitError(
      'config-unsupported',
      `PixArt width ${width} must be a multiple of 4, at most ${MAX_WIDTH}.`,
    );
  }
  const context = config.caption_channels ? width : (config.cross_attention_dim ?? width);
  if (config.cross_attention_dim && config.cross_attention_dim !== context) {
    throw new EdgeDitError(
      'config-unsupported',
      `cross_attention_dim ${config.cross_attention_dim} is not the width ${context} of the projected captions.`,
    );
  }
  return {
    width,
    context,
    depth: config.num_layers,
    heads: config.num_attention_heads,
    bias: config.attention_bias,
    patch: config.patch_size,
    inChannels: config.in_channels,
    outChannels: config.out_channels ?? config.in_channels,
    sampleSize: config.sample_size,
    eps: config.norm_eps,
    captionChannels: config.caption_channels ?? undefined,
    // diffusers' rules for what a config leaves open.
    interpolationScale: config.interpolation_scale ?? Math.max(Math.floor(config.sample_size / 64), 1),
    microConditions: config.use_additional_conditions ?? config.sample_size === 128,
  };
}

export type Dimensions = ReturnType<typeof dimensions>;

function linearsOf(d: Dimensions): LinearSpec[] {
  const embedder = (name: string, width: number) => [
    island(`adaln_single.emb.${name}.linear_1`, width, TIMESTEP_CHANNELS, 'start'),
    island(`adaln_single.emb.${name}.linear_2`, width, width, 'start'),
  ];
  const blocks = Array.from({ length: d.depth }, (_, i) => {
    const name = `transformer_blocks.${i}`;
    const group = `block.${i}`;
    return [
      ...attentionLinears(`${name}.attn1`, d.width, d.width, d.bias, group),
      ...attentionLinears(`${name}.attn2`, d.width, d.context, d.bias, group),
      ...feedForwardLinears(`${name}.ff`, d.width, 4 * d.width, group),
    ];
  });
  return [
    island('pos_embed.proj', d.width, d.inChannels * d.patch * d.patch, 'start'),
    ...embedder('timestep_embedder', d.width),
    ...(d.microConditions
      ? ['resolution_embedder', 'aspect_ratio_embedder'].flatMap((n) => embedder(n, d.width / 3))
      : []),
    island('adaln_single.linear', 6 * d.width, d.width, 'start', 'modulation'),
    ...(d.captionChannels
      ? [
          island('caption_projection.linear_1', d.width, d.captionChannels, 'start'),
          island('caption_projection.linear_2', d.width, d.width, 'start'),
        ]
      : []),
    ...blocks.flat(),
    island('proj_out', d.patch * d.patch * d.outChannels, d.width, 'end'),
  ];
}

function tablesOf(d: Dimensions): TableSpec[] {
  return [
    ...Array.from({ length: d.depth }, (_, i) => {
      return { name: `transformer_blocks.${i}.scale_shift_table`, shape: [6, d.width], group: `block.${i}` };
    }),
    { name: 'scale_shift_table', shape: [2, d.width], group: 'end' },
  ];
}

interface Block {
  readonly table: Tensor;
  readonly attn1: AttentionLayers;
  readonly attn2: AttentionLayers;
  readonly ff: readonly [Linear, Linear];
}

class PixArt implements Transformer {
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
      table: weights.table(`${name}.scale_shift_table`),
      attn1: attentionLayers(weights, `${name}.attn1`),
      attn2: attentionLayers(weights, `${name}.attn2`),
      ff: [weights.linear(`${name}.ff.net.0.proj`), weights.linear(`${name}.ff.net.2`)],
    };
  }

  begin(conditions: Conditions, schedule: readonly number[] = []): Session {
    const { batch, frames, height, width, text } = conditions;
    const d = this.#d;
    const engine = this.#engine;
    checkSize(height, width, d.patch);
    if (!text || text.count !== batch) {
      throw new EdgeDitError('invalid-request', `PixArt needs ${batch} text embeddings, got ${text?.count ?? 0}.`);
    }
    const [rows, columns] = [height / d.patch, width / d.patch];
    const tokens = rows * columns;
    const grid = { rows, columns, baseSize: d.sampleSize / d.patch, interpolationScale: d.interpolationScale };
    const positions = engine.input(positionEmbedding(d.width, grid), [tokens, d.width]);
    const micro = this.#microConditions(conditions);
    const context = this.#context(text.data, [batch, text.tokens, text.channels]);
    const keyBias = Float32Array.from(text.mask, (keep) => (1 - keep) * MASK_BIAS);
    const keysAndValues = blockProducts(
      engine,
      whenMade(this.#weights),
      d.depth,
      (i) => {
        const { k, v } = this.#layers(i).attn2;
        return { operand: engine.operand(context), linears: [k, v] };
      },
      [1, 2].map(() => [batch, text.tokens, d.width]),
    );

    const vectorsOf = stepVectors(engine, schedule, batch, VECTORS_OF_A_ROW * 4 * d.width, (timesteps) => {
      const time = this.#time(timesteps, micro);
      const modulation = this.#weights.linear('adaln_single.linear');
      return [time, engine.apply(modulation, engine.operand(time, { kind: 'silu' }))];
    });

    const forward = async (sample: Float32Array, timesteps: ArrayLike<number>, hooks?: ForwardHooks) => {
      const mark = engine.mark();
      try {
        const shape = { batch, frames, height, width, patch: d.patch };
        const values = patchify(sample, { ...shape, channels: d.inChannels });
        const patches = engine.input(values, [batch * frames, tokens, d.inChannels * d.patch * d.patch]);
        const embedded = engine.apply(this.#weights.linear('pos_embed.proj'), engine.operand(patches));
        const x = engine.add(embedded, positions);
        const [time, modulation] = vectorsOf(timesteps);
        const vectors = engine.reshape(modulation, [batch, 6, d.width]);
        for (let i = 0; i < d.depth; i++) {
          await hooks?.tick?.();
          await this.#weights.arrivals?.ready(i);
          const inner = engine.mark();
          await this.#block(this.#layers(i), x, vectors, keysAndValues(i), keyBias, hooks);
          engine.release(inner);
          await hooks?.observe?.(`block${i}`, x);
        }
        const out = await engine.read(this.#output(x, time));
        return unpatchify(out, { ...shape, channels: d.outChannels });
      } finally {
        engine.release(mark);
      }
    };
    return { forward };
  }

  async #block(
    block: Block,
    x: Tensor,
    vectors: Tensor,
    [k, v]: readonly Tensor[],
    keyBias: Float32Array,
    hooks?: ForwardHooks,
  ): Promise<void> {
    const engine = this.#engine;
    const { heads, eps } = this.#d;
    const parts = modulationOf(engine, engine.add(vectors, block.table));
    selfAttention(engine, x, block.attn1, parts.attention, heads, eps);
    await hooks?.tick?.();
    const q = engine.apply(block.attn2.q, engine.operand(x));
    const attended = engine.attention(q, k, v, { heads, keyBias, precision: block.attn2.precision });
    engine.applyInto(x, block.attn2.out, engine.operand(attended));
    await hooks?.tick?.();
    feedForward(engine, x, ...block.ff, parts.feedForward, eps);
  }

  /** norm, modulated by the timestep's embedding plus a table of shift and scale; then the last layer. */
  #output(x: Tensor, time: Tensor): Tensor {
    const engine = this.#engine;
    const { width } = this.#d;
    const [batch] = time.shape;
    const pairs = engine.reshape(engine.concat([time, time]), [batch, 2, width]);
    const vectors = engine.add(pairs, this.#weights.table('scale_shift_table'));
    const modulation = { shift: engine.select(vectors, 0), scale: engine.select(vectors, 1) };
    return engine.apply(
      this.#weights.linear('proj_out'),
      engine.operand(x, { kind: 'norm', eps: OUTPUT_EPS, modulation }),
    );
  }

  #time(timesteps: ArrayLike<number>, micro: Tensor | undefined): Tensor {
    const input = this.#engine.input(timestepEmbedding(timesteps, TIMESTEP_CHANNELS / 2), [
      timesteps.length,
      TIMESTEP_CHANNELS,
    ]);
    const time = this.#embed('timestep_embedder', input);
    return micro ? this.#engine.add(time, micro) : time;
  }

  #embed(name: string, input: Tensor): Tensor {
    const layer = (part: string) => this.#weights.linear(`adaln_single.emb.${name}.${part}`);
    return timeMlp(this.#engine, layer('linear_1'), layer('linear_2'), input);
  }

  /** [batch, width]: the embedded height and width, then the aspect ratio. */
  #microConditions({ batch, resolution, aspectRatio }: Conditions): Tensor | undefined {
    if (!this.#d.microConditions) return undefined;
    if (resolution?.length !== 2 * batch || aspectRatio?.length !== batch) {
      throw new EdgeDitError(
        'invalid-request',
        'this PixArt needs a resolution [batch, 2] and an aspect ratio [batch].',
      );
    }
    const engine = this.#engine;
    const embed = (name: string, values: Float32Array) =>
      this.#embed(
        name,
        engine.input(timestepEmbedding(values, TIMESTEP_CHANNELS / 2), [values.length, TIMESTEP_CHANNELS]),
      );
    const sizes = engine.reshape(embed('resolution_embedder', resolution), [batch, (2 * this.#d.width) / 3]);
    return engine.concat([sizes, embed('aspect_ratio_embedder', aspectRatio)]);
  }

  #context(data: Float32Array, shape: readonly number[]): Tensor {
    const engine = this.#engine;
    const text = engine.input(data, shape);
    if (!this.#d.captionChannels) return text;
    const first = engine.apply(this.#weights.linear('caption_projection.linear_1'), engine.operand(text));
    return engine.apply(this.#weights.linear('caption_projection.linear_2'), engine.operand(first, { kind: 'gelu' }));
  }
}

export const pixart: Architecture = {
  names: ['PixArtTransformer2DModel'],
  configure(raw): ConfiguredArchitecture {
    const d = dimensions(raw);
    return {
      geometry: {
        inChannels: d.inChannels,
        outChannels: d.outChannels,
        patchSize: d.patch,
        headWidth: d.width / d.heads,
        sampleSize: d.sampleSize,
        fixedSize: false,
        conditioning: { kind: 'text', channels: d.captionChannels ?? d.context, microConditions: d.microConditions },
      },
      linears: linearsOf(d),
      tables: tablesOf(d),
      build: (weights, engine) => new PixArt(d, weights, engine),
    };
  },
};
