/** DiT in ONNX, from either naming. Inputs: sample, timestep, class_labels (the last class stands for none). */
import { EdgeDitError } from '@edge-dit/runtime/errors';
import { type Dimensions, dimensions, dit, EPS, embedderOf } from '@edge-dit/runtime/models/dit';
import { positionEmbedding, TIMESTEP_CHANNELS } from '@edge-dit/runtime/models/embeddings';
import type { Exporter, ExportShape } from './exporter.ts';
import type { Value } from './graph-builder.ts';
import { type Layer, plusOne } from './layers.ts';
import {
  embedPatches,
  feedForward,
  gatedParts,
  joinPatches,
  linear,
  modulatedNorm,
  SCALE_ROWS,
  selfAttention,
  silu,
  sinusoids,
  timeMlp,
  type Workshop,
} from './transformer-parts.ts';

export const ditExporter: Exporter = {
  architecture: dit,
  build(shop, config, shape) {
    const { graph } = shop;
    const d = dimensions(config);
    const { batch, height, width } = shape;
    const [rows, columns] = [height / d.patch, width / d.patch];
    const sample = graph.input('sample', 'float32', [batch, d.inChannels, height, width]);
    const inputs = {
      timestep: graph.input('timestep', 'float32', [batch]),
      labels: graph.input('class_labels', 'int64', [batch]),
    };
    let x = graph.within('patches', () => embedPatches(shop, sample, d.patch, positionsOf(shop, d, shape)));
    const first = graph.within('condition', () => conditionOf(shop, d, 0, inputs));
    for (let i = 0; i < d.depth; i++) {
      const name = `transformer_blocks.${i}`;
      x = graph.within(name, () => {
        const condition = d.shared || i === 0 ? first : conditionOf(shop, d, i, inputs);
        return block(shop, d, x, name, condition);
      });
    }
    return graph.within('output', () => {
      const [shift, scalePlusOne] = graph.split(vectorsOf(shop, d, first, 'proj_out_1', [1]), 1, 2);
      const out = linear(shop, modulatedNorm(shop, x, EPS, { shift, scalePlusOne }), 'proj_out_2');
      return joinPatches(shop, out, d.patch, rows, columns);
    });
  },
};

function block(shop: Workshop, d: Dimensions, x: Value, name: string, condition: Value): Value {
  const parts = gatedParts(shop, vectorsOf(shop, d, condition, `${name}.norm1.linear`, SCALE_ROWS));
  const seen = selfAttention(shop, x, `${name}.attn1`, parts.attention, { heads: d.heads, eps: EPS });
  return feedForward(shop, seen, `${name}.ff`, parts.feedForward, d.eps);
}

/** Shifts, scales and gates [batch, count, width] of a condition, 1 added to the scales. */
function vectorsOf(shop: Workshop, d: Dimensions, condition: Value, name: string, scales: readonly number[]): Value {
  const layer = shop.layers.linear(name);
  const zeros = async () => new Float32Array(layer.outFeatures);
  const changed: Layer = { ...layer, bias: plusOne(layer.bias ?? zeros, d.width, scales) };
  const vectors = linear(shop, condition, changed);
  return shop.graph.reshape(vectors, [vectors.shape[0], layer.outFeatures / d.width, d.width]);
}

interface ConditionInputs {
  readonly timestep: Value;
  readonly labels: Value;
}

/** silu of the embedded timestep plus the embedded class, [batch, width]: adaLN reads nothing else of it. */
function conditionOf(shop: Workshop, d: Dimensions, i: number, { timestep, labels }: ConditionInputs): Value {
  const { graph, layers } = shop;
  const name = embedderOf(d, i);
  const divisor = TIMESTEP_CHANNELS / 2 - (d.shared ? 0 : 1);
  const time = timeMlp(shop, `${name}.timestep_embedder`, sinusoids(shop, timestep, divisor));
  const classes = layers.table(`${name}.class_embedder.embedding_table.weight`);
  const table = graph.laterFloats(classes.name, classes.shape, classes.read);
  const embedded = graph.node('Gather', [table, labels], [labels.shape[0], d.width]);
  return silu(shop, graph.binary('Add', time, embedded));
}

function positionsOf({ layers }: Workshop, d: Dimensions, { height, width }: ExportShape): () => Promise<Float32Array> {
  if (d.shared) {
    if (height !== d.sampleSize || width !== d.sampleSize) {
      throw new EdgeDitError(
        'invalid-argument',
        `this DiT stores its positions: only ${d.sampleSize} x ${d.sampleSize} can be exported, got ${height} x ${width}.`,
      );
    }
    return layers.table('pos_embed.pos_embed').read;
  }
  const [rows, columns] = [height / d.patch, width / d.patch];
  const grid = { rows, columns, baseSize: d.sampleSize / d.patch, interpolationScale: 1 };
  return async () => positionEmbedding(d.width, grid);
}
