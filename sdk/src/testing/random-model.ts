/**
 * A published model with random weights: the config of an architecture and a seed in, its objects out. Each group of tensors
 * (the start, a block, the end) has a shard of its own, however small, so that a small model has many shards.
 */
import { encodingByName } from '@edge-dit/runtime/format/encodings';
import { floatToHalf } from '@edge-dit/runtime/format/half';
import { manifestKey, pointerKey, shardKey } from '@edge-dit/runtime/format/keys';
import { type Manifest, serializeManifest } from '@edge-dit/runtime/format/manifest';
import { type PackTensor, packShards } from '@edge-dit/runtime/format/pack';
import type { LinearSpec } from '@edge-dit/runtime/models/architecture';
import { architectureByName } from '@edge-dit/runtime/models/index';
import { scaleName, zeroName } from '@edge-dit/runtime/models/weights';
import type { WritableStore } from '@edge-dit/runtime/stores/store';
import { sha256Hex } from '@edge-dit/runtime/verify';
import { randomBits } from './random-bits.ts';

export interface RandomModel {
  readonly manifest: Manifest;
  /** SHA-256 of the manifest. */
  readonly digest: string;
  /** By key: the shards, the manifest, and the pointer last. */
  readonly objects: ReadonlyMap<string, Uint8Array>;
}

export interface RandomModelOptions {
  readonly model: string;
  readonly seed: number;
  readonly bits?: 4 | 8;
  /** Layers that make adaLN's vectors in codes of 8 bits, with float activations; in float16 without it. */
  readonly codedModulation?: boolean;
  /** Of a prompt. Default 8. */
  readonly maxTokens?: number;
  readonly architecture?: string;
  readonly config?: Readonly<Record<string, unknown>>;
  /** Of the scheduler. */
  readonly sampler?: Readonly<Record<string, unknown>>;
}

/** A PixArt of 8 blocks and 0.5 MB: ten shards. */
const SMALL = {
  num_attention_heads: 4,
  attention_head_dim: 24,
  in_channels: 3,
  out_channels: 3,
  num_layers: 8,
  cross_attention_dim: 96,
  caption_channels: 32,
  sample_size: 16,
  patch_size: 2,
};

export async function randomModel(options: RandomModelOptions): Promise<RandomModel> {
  const { model, seed, bits = 4, architecture = 'PixArtTransformer2DModel', config = SMALL } = options;
  const { codedModulation = false, maxTokens = 8 } = options;
  const bitsOf = (role: LinearSpec['role']) =>
    role === 'body' ? bits : role === 'modulation' && codedModulation ? 8 : undefined;
  const { linears, tables, geometry } = architectureByName(architecture).configure(config);
  const groups = [...new Set([...linears, ...tables].map(({ group }) => group))];
  const rank = (group: string) => ['start', 'end'].indexOf(group) + 1 || 1.5;
  groups.sort((a, b) => rank(a) - rank(b));
  const random = randomBits(seed);
  const float = (name: string, shape: readonly number[], group: string, size: number): PackTensor => {
    const count = shape.reduce((a, b) => a * b, 1);
    const halves = Uint16Array.from({ length: count }, () => floatToHalf(size * (random() / 2 ** 31 - 1)));
    return { name, shape, group, encoding: 'f16', bytes: new Uint8Array(halves.buffer) };
  };
  const bytesOf = (name: string, shape: readonly number[], group: string, encoding: string): PackTensor => {
    const bytes = new Uint8Array(encodingByName(encoding).byteLength(shape));
    for (let i = 0; i < bytes.length; i++) bytes[i] = random();
    return { name, shape, group, encoding, bytes };
  };
  const tensorsOf = (group: string): PackTensor[] => [
    ...linears
      .filter((linear) => linear.group === group)
      .flatMap(({ name, outFeatures, inFeatures, bias, role }) => {
        const size = 1 / Math.sqrt(inFeatures);
        const width = bitsOf(role);
        const weight = !width
          ? [float(`${name}.weight`, [outFeatures, inFeatures], group, size)]
          : [
              bytesOf(`${name}.weight`, [outFeatures, inFeatures], group, `u${width}-8x4`),
              float(scaleName(name), [outFeatures], group, size / 2 ** (width - 1)),
              { ...bytesOf(zeroName(name), [outFeatures], group, 'u8'), bytes: middle(outFeatures, width) },
            ];
        return [...weight, ...(bias ? [float(`${name}.bias`, [outFeatures], group, 0.1)] : [])];
      }),
    ...tables.filter((table) => table.group === group).map(({ name, shape }) => float(name, shape, group, 0.1)),
  ];
  const objects = new Map<string, Uint8Array>();
  const [shards, records]: [Manifest['shards'], Manifest['tensors']] = [[], []];
  for (const group of groups) {
    for await (const { sha256, bytes, length, tensors } of packShards(tensorsOf(group))) {
      records.push(...tensors.map((record) => ({ ...record, shard: shards.length })));
      shards.push({ sha256, length });
      objects.set(shardKey(sha256), bytes);
    }
  }
  const { conditioning } = geometry;
  const manifest: Manifest = {
    format: 'edge-dit',
    version: 1,
    model,
    architecture,
    config: { ...config },
    sampler: { _class_name: 'DDIMScheduler', ...options.sampler },
    defaults: { steps: 4, guidance: 1 },
    pipeline: {
      space: 'pixel',
      conditioning:
        conditioning.kind === 'text'
          ? { type: 'text', maxTokens, channels: conditioning.channels }
          : { type: 'class', count: conditioning.classes },
    },
    tensors: records,
    shards,
    files: [],
    quantization: {
      recipe: `random-w${bits}`,
      activations: 'int8, asymmetric, per token, dynamic',
      attention: 'int8',
      layers: linears.flatMap(({ name, role }) => {
        const width = bitsOf(role);
        return width ? [{ name, weightBits: width, activationBits: role === 'body' ? 8 : 32 }] : [];
      }),
      floatBytes16: 2 * linears.reduce((sum, { outFeatures, inFeatures }) => sum + outFeatures * inFeatures, 0),
    },
  };
  const bytes = serializeManifest(manifest);
  const digest = await sha256Hex(bytes);
  objects.set(manifestKey(digest), bytes);
  objects.set(pointerKey(model), new TextEncoder().encode(JSON.stringify({ manifest: digest, length: bytes.length })));
  return { manifest, digest, objects };
}

/** Puts a model's objects into a store, the pointer last. */
export async function putModel(store: WritableStore, { objects }: RandomModel): Promise<void> {
  for (const [key, bytes] of objects) await store.put(key, bytes);
}

const middle = (length: number, bits: number) => new Uint8Array(length).fill(2 ** (bits - 1));
