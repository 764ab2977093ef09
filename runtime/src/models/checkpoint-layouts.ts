/**
 * How published checkpoints hold the tensors of an architecture: names and shapes, from its config. For tools that read
 * checkpoints; shards have the canonical names, so nothing that generates imports this.
 */
import type { Architecture, ConfiguredArchitecture, LinearSpec, TableSpec } from './architecture.ts';
import { canonicalTensors } from './blocks.ts';
import { type Dimensions, dimensions, dit } from './dit.ts';
import { TIMESTEP_CHANNELS } from './embeddings.ts';
import { architectureByName } from './index.ts';
import { pixart } from './pixart.ts';

/** A tensor that a checkpoint must hold, and which canonical tensors its rows are, from the first row on. */
export interface CheckpointTensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly gives: readonly { readonly name: string; readonly shape: readonly number[] }[];
}

export interface CheckpointLayout {
  readonly naming: string;
  readonly tensors: readonly CheckpointTensor[];
  /** Tensors that may be there and say nothing that the config does not. */
  readonly ignored: readonly string[];
}

type Config = Readonly<Record<string, unknown>>;

const layouts: ReadonlyMap<Architecture, (config: Config) => CheckpointLayout> = new Map([
  [
    pixart,
    (config) =>
      diffusersLayout(pixart.configure(config), [
        'pos_embed.pos_embed',
        'y_embedding',
        'caption_projection.y_embedding',
      ]),
  ],
  [
    dit,
    (config) => {
      const d = dimensions(config);
      return d.shared ? facebookLayout(d) : diffusersLayout(dit.configure(config), ['pos_embed.pos_embed']);
    },
  ],
]);

/**
 * The layout that goes with a config: each naming has configs of its own.
 * @throws `unknown-name`, and `config-unsupported` naming every option that is not implemented
 */
export function checkpointLayout(architecture: string, config: Config): CheckpointLayout {
  return layouts.get(architectureByName(architecture))!(config);
}

/** The canonical names; the patches' projection is a convolution. */
function diffusersLayout(
  { linears, tables, geometry: { inChannels, patchSize } }: ConfiguredArchitecture,
  ignored: readonly string[],
): CheckpointLayout {
  const projection = linears.find(({ name }) => name === 'pos_embed.proj')!;
  const shapes = { 'pos_embed.proj.weight': [projection.outFeatures, inChannels, patchSize, patchSize] };
  return { naming: 'diffusers', tensors: sameNames(linears, tables, shapes), ignored };
}

/** A checkpoint whose names and shapes are the canonical ones, but for those that `shapes` spells otherwise. */
export function sameNames(
  linears: readonly LinearSpec[],
  tables: readonly TableSpec[],
  shapes: Readonly<Record<string, readonly number[]>> = {},
): CheckpointTensor[] {
  return [...canonicalTensors(linears), ...tables].map(({ name, shape }) => {
    return { name, shape: shapes[name] ?? shape, gives: [{ name, shape }] };
  });
}

function facebookLayout(d: Dimensions): CheckpointLayout {
  const square = [d.width, d.width];
  const renamed = (name: string, canonical: string, shape: readonly number[], stored = shape): CheckpointTensor => {
    return { name, shape: stored, gives: [{ name: canonical, shape }] };
  };
  const layer = (name: string, canonical: string, shape: readonly number[], stored = shape) => [
    renamed(`${name}.weight`, `${canonical}.weight`, shape, stored),
    renamed(`${name}.bias`, `${canonical}.bias`, [shape[0]]),
  ];
  const blocks = Array.from({ length: d.depth }, (_, i) => {
    const [name, canonical] = [`blocks.${i}`, `transformer_blocks.${i}`];
    const qkv = (suffix: string, shape: readonly number[]) =>
      ['to_q', 'to_k', 'to_v'].map((part) => ({ name: `${canonical}.attn1.${part}.${suffix}`, shape }));
    return [
      { name: `${name}.attn.qkv.weight`, shape: [3 * d.width, d.width], gives: qkv('weight', square) },
      { name: `${name}.attn.qkv.bias`, shape: [3 * d.width], gives: qkv('bias', [d.width]) },
      ...layer(`${name}.attn.proj`, `${canonical}.attn1.to_out.0`, square),
      ...layer(`${name}.mlp.fc1`, `${canonical}.ff.net.0.proj`, [d.hidden, d.width]),
      ...layer(`${name}.mlp.fc2`, `${canonical}.ff.net.2`, [d.width, d.hidden]),
      ...layer(`${name}.adaLN_modulation.1`, `${canonical}.norm1.linear`, [6 * d.width, d.width]),
    ];
  });
  const tokens = (d.sampleSize / d.patch) * (d.sampleSize / d.patch);
  const values = d.inChannels * d.patch * d.patch;
  const convolution = [d.width, d.inChannels, d.patch, d.patch];
  const tensors = [
    renamed('pos_embed', 'pos_embed.pos_embed', [tokens, d.width], [1, tokens, d.width]),
    ...layer('x_embedder.proj', 'pos_embed.proj', [d.width, values], convolution),
    ...layer('t_embedder.mlp.0', 'emb.timestep_embedder.linear_1', [d.width, TIMESTEP_CHANNELS]),
    ...layer('t_embedder.mlp.2', 'emb.timestep_embedder.linear_2', square),
    renamed('y_embedder.embedding_table.weight', 'emb.class_embedder.embedding_table.weight', [d.labels, d.width]),
    ...blocks.flat(),
    ...layer('final_layer.adaLN_modulation.1', 'proj_out_1', [2 * d.width, d.width]),
    ...layer('final_layer.linear', 'proj_out_2', [d.patch * d.patch * d.outChannels, d.width]),
  ];
  return { naming: 'facebookresearch/DiT', tensors, ignored: [] };
}
