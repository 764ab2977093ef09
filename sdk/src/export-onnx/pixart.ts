/**
 * PixArt in ONNX. Inputs: sample, timestep, encoder_hidden_states, encoder_attention_mask (1 keeps, 0 hides), and with
 * micro-conditions resolution and aspect_ratio.
 */
import { positionEmbedding, TIMESTEP_CHANNELS } from '@edge-dit/runtime/models/embeddings';
import { type Dimensions, dimensions, MASK_BIAS, OUTPUT_EPS, pixart } from '@edge-dit/runtime/models/pixart';
import type { Exporter, ExportShape } from './exporter.ts';
import type { Value } from './graph-builder.ts';
import { plusOne } from './layers.ts';
import {
  attention,
  embedPatches,
  feedForward,
  gatedParts,
  gelu,
  joinPatches,
  linear,
  linears,
  modulatedNorm,
  queries,
  SCALE_ROWS,
  selfAttention,
  silu,
  sinusoids,
  timeMlp,
  type Workshop,
} from './transformer-parts.ts';

/** Of the exponents of a timestep's frequencies. */
const DIVISOR = TIMESTEP_CHANNELS / 2;

export const pixartExporter: Exporter = {
  architecture: pixart,
  build(shop, config, shape) {
    const { graph } = shop;
    const d = dimensions(config);
    const { batch, height, width } = shape;
    const [rows, columns] = [height / d.patch, width / d.patch];
    const sample = graph.input('sample', 'float32', [batch, d.inChannels, height, width]);
    const timestep = graph.input('timestep', 'float32', [batch]);
    const context = graph.within('context', () => contextOf(shop, d, shape));
    const keyBias = graph.within('mask', () => keyBiasOf(shop, shape));
    const time = graph.within('time', () => timeOf(shop, d, timestep, shape));
    const grid = { rows, columns, baseSize: d.sampleSize / d.patch, interpolationScale: d.interpolationScale };
    let x = graph.within('patches', () =>
      embedPatches(shop, sample, d.patch, async () => positionEmbedding(d.width, grid)),
    );
    const modulation = linear(shop, silu(shop, time), 'adaln_single.linear');
    const vectors = graph.reshape(modulation, [batch, 6, d.width]);
    for (let i = 0; i < d.depth; i++) {
      const name = `transformer_blocks.${i}`;
      x = graph.within(name, () => block(shop, d, x, name, { vectors, context, keyBias }));
    }
    return graph.within('output', () => joinPatches(shop, outputOf(shop, d, x, time), d.patch, rows, columns));
  },
};

interface Conditions {
  /** [batch, 6, width]. */
  readonly vectors: Value;
  readonly context: Value;
  readonly keyBias: Value;
}

function block(shop: Workshop, d: Dimensions, x: Value, name: string, conditions: Conditions): Value {
  const { graph } = shop;
  const { context, keyBias } = conditions;
  const parts = gatedParts(shop, graph.binary('Add', conditions.vectors, table(shop, name, d.width, SCALE_ROWS)));
  const seen = selfAttention(shop, x, `${name}.attn1`, parts.attention, d);
  const q = linear(shop, seen, queries(shop, `${name}.attn2`, d.heads));
  const [k, v] = linears(shop, context, [`${name}.attn2.to_k`, `${name}.attn2.to_v`]);
  const attended = linear(shop, attention(shop, q, k, v, { heads: d.heads, keyBias }), `${name}.attn2.to_out.0`);
  return feedForward(shop, graph.binary('Add', seen, attended), `${name}.ff`, parts.feedForward, d.eps);
}

/** A table of shifts, scales and gates, 1 added to its scales. */
function table({ graph, layers }: Workshop, part: string, width: number, scales: readonly number[]): Value {
  const { name, shape, read } = layers.table(part === '' ? 'scale_shift_table' : `${part}.scale_shift_table`);
  return graph.laterFloats(name, shape, plusOne(read, width, scales));
}

/** norm, modulated by the timestep's embedding plus a table of shift and scale; then the last layer. */
function outputOf(shop: Workshop, d: Dimensions, x: Value, time: Value): Value {
  const { graph } = shop;
  const pairs = graph.binary('Add', graph.reshape(time, [time.shape[0], 1, d.width]), table(shop, '', d.width, [1]));
  const [shift, scalePlusOne] = graph.split(pairs, 1, 2);
  return linear(shop, modulatedNorm(shop, x, OUTPUT_EPS, { shift, scalePlusOne }), 'proj_out');
}

/** [batch, width]. */
function timeOf(shop: Workshop, d: Dimensions, timestep: Value, { batch }: ExportShape): Value {
  const { graph } = shop;
  const embed = (name: string, values: Value) =>
    timeMlp(shop, `adaln_single.emb.${name}`, sinusoids(shop, values, DIVISOR));
  const time = embed('timestep_embedder', timestep);
  if (!d.microConditions) return time;
  const resolution = embed('resolution_embedder', graph.input('resolution', 'float32', [batch, 2]));
  const aspectRatio = embed('aspect_ratio_embedder', graph.input('aspect_ratio', 'float32', [batch, 1]));
  const sizes = graph.reshape(resolution, [batch, (2 * d.width) / 3]);
  const micro = graph.node('Concat', [sizes, aspectRatio], [batch, d.width], { attributes: { axis: { int: 1 } } });
  return graph.binary('Add', time, micro);
}

/** [batch, tokens, width that the cross-attentions read]. */
function contextOf(shop: Workshop, d: Dimensions, { batch, tokens }: ExportShape): Value {
  const channels = d.captionChannels ?? d.context;
  const text = shop.graph.input('encoder_hidden_states', 'float32', [batch, tokens, channels]);
  if (!d.captionChannels) return text;
  return linear(shop, gelu(shop, linear(shop, text, 'caption_projection.linear_1')), 'caption_projection.linear_2');
}

/** (1 - mask) times the bias of hidden tokens, [batch, 1, 1, tokens]. */
function keyBiasOf({ graph }: Workshop, { batch, tokens }: ExportShape): Value {
  const mask = graph.input('encoder_attention_mask', 'int64', [batch, tokens]);
  const keep = graph.node('Cast', [mask], mask.shape, { attributes: { to: { int: 1 } } });
  const bias = graph.binary('Mul', graph.binary('Sub', keep, graph.scalar(1)), graph.scalar(-MASK_BIAS));
  return graph.reshape(bias, [batch, 1, 1, tokens]);
}
