/** Networks of the sizes that people know, of random weights, in an engine's memory. */
import type { AttentionPrecision, CodeBits, Engine } from '@edge-dit/runtime/engines/engine';
import type { Conditions, Session } from '@edge-dit/runtime/models/architecture';
import { architectureByName } from '@edge-dit/runtime/models/index';
import { scaleName, WeightLoader, zeroName } from '@edge-dit/runtime/models/weights';
import { randomBits, randomFloats } from '../core/random-values.ts';

export interface RandomModel {
  readonly name: string;
  readonly architecture: string;
  readonly config: Readonly<Record<string, unknown>>;
  /** Of the sample: a side in its units, and its channels. */
  readonly side: number;
  readonly channels: number;
  readonly text?: { readonly tokens: number; readonly channels: number };
}

/** With guidance, so batches of two. */
export const MODELS: readonly RandomModel[] = [
  {
    name: 'emoji',
    architecture: 'PixArtTransformer2DModel',
    config: {
      num_attention_heads: 6,
      attention_head_dim: 64,
      in_channels: 3,
      out_channels: 3,
      num_layers: 8,
      cross_attention_dim: 384,
      sample_size: 128,
      patch_size: 8,
      use_additional_conditions: false,
      caption_channels: 256,
    },
    side: 128,
    channels: 3,
    text: { tokens: 32, channels: 256 },
  },
  {
    name: 'DiT-XL/2 256',
    architecture: 'DiT',
    config: { input_size: 32, hidden_size: 1152, depth: 28, num_heads: 16, patch_size: 2, in_channels: 4 },
    side: 32,
    channels: 4,
  },
  {
    name: 'DiT-XL/2 512',
    architecture: 'DiT',
    config: { input_size: 64, hidden_size: 1152, depth: 28, num_heads: 16, patch_size: 2, in_channels: 4 },
    side: 64,
    channels: 4,
  },
  {
    name: 'PixArt-XL/2 512',
    architecture: 'PixArtTransformer2DModel',
    config: { sample_size: 64, caption_channels: 4096, use_additional_conditions: false },
    side: 64,
    channels: 4,
    text: { tokens: 120, channels: 4096 },
  },
  {
    name: 'PixArt-XL/2 1024',
    architecture: 'PixArtTransformer2DModel',
    config: { sample_size: 128, caption_channels: 4096, use_additional_conditions: false },
    side: 128,
    channels: 4,
    text: { tokens: 120, channels: 4096 },
  },
];

export const BATCH = 2;

/** One step of the network with body and modulation in codes of so many bits, the islands in float32. */
export function openRandomModel(
  engine: Engine,
  model: RandomModel,
  bits: CodeBits,
  attention: AttentionPrecision,
): () => Promise<Float32Array> {
  const architecture = architectureByName(model.architecture).configure(model.config);
  const coded = architecture.linears.filter(({ role }) => role !== 'island');
  const names = new Set(coded.flatMap(({ name }) => [scaleName(name), zeroName(name)]));
  const loader = new WeightLoader(architecture, engine, { names, attention });
  const panels = new Map<number, Uint8Array>();
  const floats = new Map<number, Float32Array>();
  /** Layers of one size share random numbers. */
  const once = <T>(known: Map<number, T>, size: number, make: () => T): T => {
    if (!known.has(size)) known.set(size, make());
    return known.get(size)!;
  };
  const float = (count: number, deviation: number) =>
    once(floats, count, () => randomFloats(count, count)).map((value) => value * deviation);
  for (const { name, outFeatures, inFeatures, bias, role } of architecture.linears) {
    const shape = [outFeatures, inFeatures];
    if (bias) loader.add(`${name}.bias`, [outFeatures], { kind: 'float', data: new Float32Array(outFeatures) });
    if (role === 'island') {
      const data = float(outFeatures * inFeatures, 1 / Math.sqrt(inFeatures));
      loader.add(`${name}.weight`, shape, { kind: 'float', data });
      continue;
    }
    // Modulations small, so that 28 blocks of random numbers stay numbers.
    const step = (role === 'modulation' ? 0.1 : 1) / Math.sqrt(inFeatures) / 2 ** (bits - 2);
    const middle = 2 ** (bits - 1);
    loader.add(scaleName(name), [outFeatures], { kind: 'float', data: new Float32Array(outFeatures).fill(step) });
    loader.add(zeroName(name), [outFeatures], { kind: 'bytes', data: new Uint8Array(outFeatures).fill(middle) });
    const bytes = (Math.ceil(outFeatures / 8) * 8 * inFeatures * bits) / 8;
    const data = once(panels, bytes, () => randomPanels(bytes));
    loader.add(`${name}.weight`, shape, { kind: 'codes', bits, panels: data });
  }
  for (const { name, shape } of architecture.tables) {
    const count = shape.reduce((a, b) => a * b, 1);
    loader.add(name, shape, { kind: 'float', data: float(count, 0.1) });
  }
  const transformer = architecture.build(loader.finish(), engine);
  const session = transformer.begin(conditionsOf(model), []);
  return stepOf(session, model, BATCH);
}

export function stepOf(session: Session, { side, channels }: RandomModel, batch: number) {
  const sample = randomFloats(batch * channels * side * side, 9);
  const timesteps = new Float32Array(batch).fill(500);
  return () => session.forward(sample, timesteps);
}

export function conditionsOf({ side, text }: RandomModel): Conditions {
  const shared = { batch: BATCH, frames: 1, height: side, width: side };
  if (!text) return { ...shared, labels: [1, 2] };
  const { tokens, channels } = text;
  const data = randomFloats(BATCH * tokens * channels, 8);
  return { ...shared, text: { count: BATCH, tokens, channels, data, mask: new Int32Array(BATCH * tokens).fill(1) } };
}

function randomPanels(bytes: number): Uint8Array {
  const words = new Uint32Array(Math.ceil(bytes / 4));
  const next = randomBits(bytes);
  for (let i = 0; i < words.length; i++) words[i] = next();
  return new Uint8Array(words.buffer, 0, bytes);
}
