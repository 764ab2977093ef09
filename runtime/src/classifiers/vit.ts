/**
 * The vision transformer (arXiv 2010.11929) as timm's `VisionTransformer`: a class token, learned positions, norms with
 * weights before attention and feed forward, GELU by the error function. In: pictures. Out: the class token after the
 * last norm, and what the head makes of it.
 */
import * as z from 'zod/mini';
import type { Engine, Linear, Modulation, Tensor } from '../engines/engine.ts';
import { EdgeDitError } from '../errors.ts';
import type { LinearSpec, ModelWeights, TableSpec } from '../models/architecture.ts';
import { type AttentionLayers, attentionLayers, attentionLinears, island, selfAttention } from '../models/blocks.ts';
import { type CheckpointTensor, sameNames } from '../models/checkpoint-layouts.ts';
import { MAX_LAYERS, MAX_SAMPLE_SIZE, MAX_WIDTH, readConfig, size } from '../models/config.ts';
import { patchify } from '../models/patches.ts';
import type { Classified, Classifier, ClassifierArchitecture } from './classifier.ts';
import { exactGelu } from './exact-gelu.ts';

const CHANNELS = 3;
const EPS = 1e-6;
const MAX_CLASSES = 1_000_000;
/** Of one colour each; timm's networks for CIFAR and ImageNet differ in them. */
const perChannel = z.array(z.number()).check(z.length(CHANNELS));

const configSchema = z.looseObject({
  img_size: z._default(size(MAX_SAMPLE_SIZE), 224),
  patch_size: z._default(size(64), 16),
  embed_dim: z._default(size(MAX_WIDTH), 768),
  depth: z._default(size(MAX_LAYERS), 12),
  num_heads: z._default(size(256), 12),
  mlp_ratio: z._default(z.number().check(z.positive(), z.maximum(64)), 4),
  num_classes: z._default(size(MAX_CLASSES), 1000),
  mean: z._default(perChannel, [0.5, 0.5, 0.5]),
  std: z._default(perChannel, [0.5, 0.5, 0.5]),
  act_layer: z.nullish(z.literal('gelu')),
  class_token: z._default(z.literal(true), true),
  global_pool: z._default(z.literal('token'), 'token'),
});

type Dimensions = ReturnType<typeof dimensions>;

function dimensions(raw: Readonly<Record<string, unknown>>) {
  const config = readConfig(configSchema, raw, 'VisionTransformer');
  const { embed_dim: width, num_heads: heads, img_size: pictureSize, patch_size: patch } = config;
  if (width % 4 !== 0 || width % heads !== 0 || pictureSize % patch !== 0) {
    throw new EdgeDitError(
      'config-unsupported',
      `VisionTransformer: embed_dim ${width} must be a multiple of 4 and of num_heads ${heads}, img_size ${pictureSize} of patch_size ${patch}.`,
    );
  }
  return {
    width,
    heads,
    pictureSize,
    patch,
    depth: config.depth,
    hidden: Math.trunc(width * config.mlp_ratio),
    classes: config.num_classes,
    tokens: 1 + (pictureSize / patch) * (pictureSize / patch),
    mean: config.mean,
    std: config.std,
  };
}

function linearsOf({ width, hidden, depth, patch, classes }: Dimensions): LinearSpec[] {
  const blocks = Array.from({ length: depth }, (_, i): LinearSpec[] => {
    const group = `block${i}`;
    return [
      ...attentionLinears(`blocks.${i}.attn`, width, width, true, group),
      { name: `blocks.${i}.mlp.fc1`, outFeatures: hidden, inFeatures: width, bias: true, group, role: 'body' },
      { name: `blocks.${i}.mlp.fc2`, outFeatures: width, inFeatures: hidden, bias: true, group, role: 'body' },
    ];
  });
  const embedder = { ...island('patch_embed.proj', width, CHANNELS * patch * patch, 'in'), bias: false };
  return [embedder, ...blocks.flat(), island('head', classes, width, 'out')];
}

function tablesOf({ width, depth, tokens }: Dimensions): TableSpec[] {
  const vectors = (name: string, group: string): TableSpec[] =>
    ['weight', 'bias'].map((part) => ({ name: `${name}.${part}`, shape: [width], group }));
  return [
    { name: 'patch_embed.proj.bias', shape: [width], group: 'in' },
    { name: 'cls_token', shape: [1, 1, width], group: 'in' },
    { name: 'pos_embed', shape: [1, tokens, width], group: 'in' },
    ...Array.from({ length: depth }, (_, i) =>
      ['norm1', 'norm2'].flatMap((norm) => vectors(`blocks.${i}.${norm}`, `block${i}`)),
    ).flat(),
    ...vectors('norm', 'out'),
  ];
}

/** timm's names: queries, keys and values are the rows of one matrix. */
function timmTensors(d: Dimensions): CheckpointTensor[] {
  const { width, patch } = d;
  const isAttention = ({ name }: LinearSpec) => name.includes('.attn.');
  const convolution = { 'patch_embed.proj.weight': [width, CHANNELS, patch, patch] };
  const plain = linearsOf(d).filter((linear) => !isAttention(linear));
  const attention = Array.from({ length: d.depth }, (_, i) => {
    const name = `blocks.${i}.attn`;
    const gives = (parts: readonly string[], kind: string, shape: readonly number[]) =>
      parts.map((part) => ({ name: `${name}.${part}.${kind}`, shape }));
    return Object.entries({ weight: [width, width], bias: [width] }).flatMap(([kind, shape]): CheckpointTensor[] => [
      {
        name: `${name}.qkv.${kind}`,
        shape: [3 * width, ...shape.slice(1)],
        gives: gives(['to_q', 'to_k', 'to_v'], kind, shape),
      },
      { name: `${name}.proj.${kind}`, shape, gives: gives(['to_out.0'], kind, shape) },
    ]);
  });
  return [...sameNames(plain, tablesOf(d), convolution), ...attention.flat()];
}

interface Block {
  readonly attention: AttentionLayers;
  readonly norms: readonly [Modulation, Modulation];
  readonly feedForward: readonly [Linear, Linear];
}

class VisionTransformer implements Classifier {
  readonly #d: Dimensions;
  readonly #engine: Engine;
  readonly #embedder: Linear;
  readonly #positions: Tensor;
  readonly #blocks: readonly Block[];
  readonly #ones: Tensor;
  readonly #norm: Modulation;
  readonly #head: Linear;

  constructor(d: Dimensions, weights: ModelWeights, engine: Engine) {
    this.#d = d;
    this.#engine = engine;
    this.#embedder = weights.linear('patch_embed.proj');
    this.#positions = engine.constant(positionsOf(d, weights), [d.tokens, d.width]);
    this.#ones = engine.constant(new Float32Array(d.width).fill(1), [1, d.width]);
    // A norm's weight and bias are a modulation that never changes.
    const norm = (name: string): Modulation => ({
      scale: engine.constant(
        weights.values(`${name}.weight`).map((value) => value - 1),
        [1, d.width],
      ),
      shift: engine.constant(weights.values(`${name}.bias`), [1, d.width]),
    });
    this.#blocks = Array.from({ length: d.depth }, (_, i) => {
      const name = `blocks.${i}`;
      return {
        attention: attentionLayers(weights, `${name}.attn`),
        norms: [norm(`${name}.norm1`), norm(`${name}.norm2`)],
        feedForward: [weights.linear(`${name}.mlp.fc1`), weights.linear(`${name}.mlp.fc2`)],
      };
    });
    this.#norm = norm('norm');
    this.#head = weights.linear('head');
  }

  async classify(pictures: Float32Array): Promise<Classified> {
    const engine = this.#engine;
    const mark = engine.mark();
    try {
      const x = this.#embed(pictures);
      for (const block of this.#blocks) {
        const [modulation] = block.norms;
        selfAttention(engine, x, block.attention, { modulation, gate: this.#ones }, this.#d.heads, EPS);
        await this.#feedForward(x, block);
      }
      const normed = engine.materialize(engine.operand(x, { kind: 'norm', eps: EPS, modulation: this.#norm }));
      const token = engine.select(normed, 0);
      const features = await engine.read(token);
      return { features, logits: await engine.read(engine.apply(this.#head, engine.operand(token))) };
    } finally {
      engine.release(mark);
    }
  }

  /** [count, tokens, width]; the class token is a row of zeros until the table is added. */
  #embed(pictures: Float32Array): Tensor {
    const { pictureSize, patch, tokens, mean, std } = this.#d;
    const pixels = pictureSize * pictureSize;
    const count = pictures.length / (CHANNELS * pixels);
    if (!Number.isInteger(count) || count === 0) {
      throw new EdgeDitError(
        'invalid-argument',
        `${pictures.length} values are no pictures [${CHANNELS}, ${pictureSize}, ${pictureSize}].`,
      );
    }
    const normalized = pictures.map((value, i) => {
      const channel = Math.floor(i / pixels) % CHANNELS;
      return ((value + 1) / 2 - mean[channel]) / std[channel];
    });
    const grid = { batch: count, frames: 1, channels: CHANNELS, height: pictureSize, width: pictureSize, patch };
    const patches = patchify(normalized, grid);
    const channels = CHANNELS * patch * patch;
    const rows = new Float32Array(count * tokens * channels);
    const length = (tokens - 1) * channels;
    for (let i = 0; i < count; i++) {
      rows.set(patches.subarray(i * length, (i + 1) * length), (i * tokens + 1) * channels);
    }
    const engine = this.#engine;
    const input = engine.input(rows, [count, tokens, channels]);
    return engine.add(engine.apply(this.#embedder, engine.operand(input)), this.#positions);
  }

  /** x += W2 gelu(W1 norm(x)) */
  async #feedForward(x: Tensor, { norms: [, modulation], feedForward: [first, second] }: Block): Promise<void> {
    const engine = this.#engine;
    const mark = engine.mark();
    const hidden = engine.apply(first, engine.operand(x, { kind: 'norm', eps: EPS, modulation }));
    const activated = engine.input(exactGelu(await engine.read(hidden)), hidden.shape);
    engine.applyInto(x, second, engine.operand(activated));
    engine.release(mark);
  }
}

/** What is added to the embedded patches: positions, and the convolution's bias, or in the first row the class token. */
function positionsOf({ width }: Dimensions, weights: ModelWeights): Float32Array {
  const bias = weights.values('patch_embed.proj.bias');
  const token = weights.values('cls_token');
  return weights.values('pos_embed').map((value, i) => value + (i < width ? token[i] : bias[i % width]));
}

export const vit: ClassifierArchitecture = {
  names: ['VisionTransformer'],
  configure(raw) {
    const d = dimensions(raw);
    return {
      size: d.pictureSize,
      features: d.width,
      classes: d.classes,
      linears: linearsOf(d),
      tables: tablesOf(d),
      layout: { naming: 'timm', tensors: timmTensors(d), ignored: [] },
      build: (weights, engine) => new VisionTransformer(d, weights, engine),
    };
  },
};
