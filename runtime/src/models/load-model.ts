/** An artifact in a store to a network in an engine: shards in order, each verified before a byte of it is used. */
import type { ActivationBits, Engine } from '../engines/engine.ts';
import { EdgeDitError } from '../errors.ts';
import { type FetchModelOptions, fetchShards } from '../fetch-model.ts';
import { encodingByName } from '../format/encodings.ts';
import type { Manifest, TensorRecord } from '../format/manifest.ts';
import type { Store } from '../stores/store.ts';
import type { VerifiedShard } from '../verify.ts';
import type { ConfiguredArchitecture, Transformer } from './architecture.ts';
import { architectureByName } from './index.ts';
import { type TensorValue, WeightLoader } from './weights.ts';

export interface LoadedModel {
  readonly architecture: ConfiguredArchitecture;
  readonly transformer: Transformer;
}

export async function loadModel(
  store: Store,
  manifest: Manifest,
  engine: Engine,
  options: FetchModelOptions = {},
): Promise<LoadedModel> {
  const architecture = architectureByName(manifest.architecture).configure(manifest.config);
  const loader = new WeightLoader(architecture, engine, {
    names: new Set(manifest.tensors.map(({ name }) => name)),
    attention: manifest.quantization?.attention,
    activationBits: activationBitsOf(manifest),
  });
  const byShard = manifest.shards.map((): TensorRecord[] => []);
  for (const record of manifest.tensors) byShard[record.shard].push(record);
  for await (const { index, shard, release } of fetchShards(store, manifest, options)) {
    try {
      for (const record of byShard[index]) loader.add(record.name, record.shape, tensorValue(shard, record));
    } finally {
      release();
    }
  }
  return { architecture, transformer: architecture.build(loader.finish(), engine) };
}

/** Engines copy what they are given, so panels need not be copied out of the shard. */
export function tensorValue(shard: VerifiedShard, record: TensorRecord): TensorValue {
  const bytes = shard.tensorBytes(record);
  const encoding = encodingByName(record.encoding);
  if (encoding.bits) return { kind: 'codes', bits: encoding.bits, panels: bytes };
  const data = encoding.decode(bytes, record.shape);
  return data instanceof Float32Array ? { kind: 'float', data } : { kind: 'bytes', data };
}

/** What quantized layers read, by their names: codes of so many bits, or `float` where the manifest says 32. */
export function activationBitsOf({ quantization }: Manifest): Map<string, ActivationBits> {
  const layers = quantization?.layers.filter(({ weightBits }) => weightBits < 16) ?? [];
  return new Map(
    layers.map(({ name, activationBits: bits }) => {
      if (bits === 32) return [name, 'float'];
      if (bits >= 4 && bits <= 8) return [name, bits as ActivationBits];
      throw new EdgeDitError(
        'manifest-invalid',
        `quantization.layers: ${name} reads activations of ${bits} bits; 4 to 8 are codes, 32 is float.`,
      );
    }),
  );
}
