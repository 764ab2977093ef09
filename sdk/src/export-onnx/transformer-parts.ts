/** What diffusion transformers share, as ONNX nodes. Activations are [batch, tokens, width]; linear layers see [rows, width]. */
import { exp, log } from '@edge-dit/runtime/math';
import { TIMESTEP_CHANNELS } from '@edge-dit/runtime/models/embeddings';
import { count, type GraphBuilder, type Value } from './graph-builder.ts';
import { type Layer, type Layers, scaled } from './layers.ts';
import { applyLayers, type LinearForm } from './linear-forms.ts';

/** What every part is made with. */
export interface Workshop {
  readonly graph: GraphBuilder;
  readonly layers: Layers;
  readonly form: LinearForm;
}

/** Linear layers that read the same value, by name or changed beforehand. */
export function linears({ graph, layers, form }: Workshop, x: Value, of: readonly (Layer | string)[]): Value[] {
  const outer = x.shape.slice(0, -1);
  const width = x.shape[x.shape.length - 1];
  const rows = graph.reshape(x, [count(outer), width]);
  const chosen = of.map((layer) => (typeof layer === 'string' ? layers.linear(layer) : layer));
  return applyLayers(graph, form, rows, chosen).map((y, i) => graph.reshape(y, [...outer, chosen[i].outFeatures]));
}

export function linear(shop: Workshop, x: Value, layer: Layer | string): Value {
  return linears(shop, x, [layer])[0];
}

export function silu({ graph }: Workshop, x: Value): Value {
  return graph.binary('Mul', x, graph.node('Sigmoid', [x], x.shape));
}

/**
 * The approximation by tanh, in one pass. Its parts (Mul, Tanh and the like) are not fused by onnxruntime-web 1.30 and
 * take longer; com.microsoft's FastGelu takes as long as this.
 */
export function gelu({ graph }: Workshop, x: Value): Value {
  return graph.node('Gelu', [x], x.shape, { attributes: { approximate: { string: 'tanh' } } });
}

export interface Modulation {
  /** [batch, 1, width]. */
  readonly shift: Value;
  /** [batch, 1, width], 1 added already. */
  readonly scalePlusOne: Value;
}

/** norm(x) (1 + scale) + shift; the norm has no weights of its own. */
export function modulatedNorm({ graph }: Workshop, x: Value, eps: number, modulation: Modulation): Value {
  const width = x.shape[x.shape.length - 1];
  const ones = graph.floats(new Float32Array(width).fill(1), [width]);
  const normed = graph.node('LayerNormalization', [x, ones], x.shape, { attributes: { epsilon: { float: eps } } });
  return graph.binary('Add', graph.binary('Mul', normed, modulation.scalePlusOne), modulation.shift);
}

export interface GatedPart extends Modulation {
  readonly gate: Value;
}

/** Rows of the six vectors [batch, 6, width] of a block to which 1 is to be added beforehand. */
export const SCALE_ROWS = [1, 4];

/** Of a block's vectors [batch, 6, width], the shift, scale and gate of its two halves. */
export function gatedParts({ graph }: Workshop, vectors: Value): { attention: GatedPart; feedForward: GatedPart } {
  const [shift1, scale1, gate1, shift2, scale2, gate2] = graph.split(vectors, 1, 6);
  return {
    attention: { shift: shift1, scalePlusOne: scale1, gate: gate1 },
    feedForward: { shift: shift2, scalePlusOne: scale2, gate: gate2 },
  };
}

export function gated({ graph }: Workshop, x: Value, y: Value, gate: Value): Value {
  return graph.binary('Add', x, graph.binary('Mul', y, gate));
}

/** x + gate attention(norm(x)). */
export function selfAttention(
  shop: Workshop,
  x: Value,
  name: string,
  part: GatedPart,
  { heads, eps }: { heads: number; eps: number },
): Value {
  const h = modulatedNorm(shop, x, eps, part);
  const [q, k, v] = linears(shop, h, [queries(shop, name, heads), `${name}.to_k`, `${name}.to_v`]);
  return gated(shop, x, linear(shop, attention(shop, q, k, v, { heads }), `${name}.to_out.0`), part.gate);
}

/** The layer that gives an attention's queries, divided by the root of a head's width. */
export function queries({ layers }: Workshop, name: string, heads: number): Layer {
  const layer = layers.linear(`${name}.to_q`);
  return scaled(layer, 1 / Math.sqrt(layer.outFeatures / heads));
}

/**
 * softmax(q k^T + keyBias) v; q [B, N, width], scaled, k and v [B, L, width], keyBias [B, 1, 1, L]. Of plain operators:
 * com.microsoft's MultiHeadAttention is not faster in onnxruntime-web 1.30.
 */
export function attention(
  { graph }: Workshop,
  q: Value,
  k: Value,
  v: Value,
  { heads, keyBias }: { heads: number; keyBias?: Value },
): Value {
  const [batch, tokens, width] = q.shape;
  const size = width / heads;
  const inHeads = (value: Value, order: readonly number[]) =>
    graph.transpose(graph.reshape(value, [batch, value.shape[1], heads, size]), order);
  const keys = k.shape[1];
  const scores = graph.node(
    'MatMul',
    [inHeads(q, [0, 2, 1, 3]), inHeads(k, [0, 2, 3, 1])],
    [batch, heads, tokens, keys],
  );
  const masked = keyBias ? graph.binary('Add', scores, keyBias) : scores;
  const weights = graph.node('Softmax', [masked], masked.shape, { attributes: { axis: { int: -1 } } });
  const mixed = graph.node('MatMul', [weights, inHeads(v, [0, 2, 1, 3])], [batch, heads, tokens, size]);
  return graph.reshape(graph.transpose(mixed, [0, 2, 1, 3]), [batch, tokens, width]);
}

/** x + gate W2 gelu(W1 norm(x)). */
export function feedForward(shop: Workshop, x: Value, name: string, part: GatedPart, eps: number): Value {
  const hidden = linear(shop, modulatedNorm(shop, x, eps, part), `${name}.net.0.proj`);
  return gated(shop, x, linear(shop, gelu(shop, hidden), `${name}.net.2`), part.gate);
}

/** [count] to [count, 256]: cosines, then sines, of the value times 10000^(-i / divisor). */
export function sinusoids({ graph }: Workshop, values: Value, divisor: number): Value {
  const half = TIMESTEP_CHANNELS / 2;
  const frequencies = Float32Array.from({ length: half }, (_, i) => exp(Math.fround((-log(10000) * i) / divisor)));
  const column = graph.reshape(values, [count(values.shape), 1]);
  const angles = graph.binary('Mul', column, graph.floats(frequencies, [1, half]));
  const parts = ['Cos', 'Sin'].map((op) => graph.node(op, [angles], angles.shape));
  return graph.node('Concat', parts, [count(values.shape), TIMESTEP_CHANNELS], { attributes: { axis: { int: 1 } } });
}

/** linear_2(silu(linear_1(x))). */
export function timeMlp(shop: Workshop, name: string, x: Value): Value {
  return linear(shop, silu(shop, linear(shop, x, `${name}.linear_1`)), `${name}.linear_2`);
}

/** The samples' patches through the first layer, plus positions [tokens, width], which the layer's bias joins. */
export function embedPatches(
  shop: Workshop,
  sample: Value,
  patch: number,
  positions: () => Promise<Float32Array>,
): Value {
  const { graph, layers } = shop;
  const [batch, channels, height, width] = sample.shape;
  const [rows, columns] = [height / patch, width / patch];
  const pixels = graph.reshape(sample, [batch, channels, rows, patch, columns, patch]);
  const patches = graph.reshape(graph.transpose(pixels, [0, 2, 4, 1, 3, 5]), [
    batch,
    rows * columns,
    channels * patch * patch,
  ]);
  const { bias, ...layer } = layers.linear('pos_embed.proj');
  const table = async () => {
    const [values, added] = [Float32Array.from(await positions()), await bias?.()];
    return added ? values.map((value, i) => value + added[i % added.length]) : values;
  };
  const shape = [rows * columns, layer.outFeatures];
  return graph.binary('Add', linear(shop, patches, layer), graph.laterFloats('positions', shape, table));
}

/** Rows of patches, channels last, to samples [batch, channels, height, width]. */
export function joinPatches({ graph }: Workshop, x: Value, patch: number, rows: number, columns: number): Value {
  const [batch, , values] = x.shape;
  const channels = values / (patch * patch);
  const grid = graph.reshape(x, [batch, rows, columns, patch, patch, channels]);
  return graph.reshape(graph.transpose(grid, [0, 5, 1, 3, 2, 4]), [batch, channels, rows * patch, columns * patch]);
}
