/** A manifest in, what people ask of a model out: how large it is, of how many bits, and where the bytes went. */
import type { Manifest, TensorRecord } from '@edge-dit/runtime/format/manifest';
import { balanceName, scaleName, zeroName } from '@edge-dit/runtime/models/weights';

export interface LayerDescription {
  readonly name: string;
  readonly shape: readonly number[];
  readonly encoding: string;
  readonly weightBits: number;
  readonly activationBits: number;
  /** Of the weight, its scales, zero points and balance, and the bias. */
  readonly bytes: number;
}

export interface ModelDescription {
  readonly model: string;
  /** SHA-256 of the manifest. */
  readonly digest: string;
  readonly architecture: string;
  /** Values of the float transformer. */
  readonly parameters: number;
  readonly recipe?: string;
  /** Linear layers by the bits of their weights and activations. */
  readonly bits: readonly {
    readonly weightBits: number;
    readonly activationBits: number;
    readonly layers: number;
    readonly parameters: number;
    readonly bytes: number;
  }[];
  readonly encodings: readonly { readonly encoding: string; readonly tensors: number; readonly bytes: number }[];
  readonly shards: { readonly count: number; readonly bytes: number; readonly paddingBytes: number };
  readonly files: readonly { readonly name: string; readonly parts: number; readonly bytes: number }[];
  readonly totalBytes: number;
  /** Of the same transformer in float16. */
  readonly floatBytes16: number;
  /** Bytes of the shards by those of float16. */
  readonly ratio: number;
  readonly pipeline: Manifest['pipeline'];
  readonly sampler: Manifest['sampler'];
  readonly defaults: Manifest['defaults'];
  readonly license?: string;
  readonly attribution?: string;
  readonly layers: readonly LayerDescription[];
}

const elements = ({ shape }: TensorRecord) => shape.reduce((product, size) => product * size, 1);
const sum = <T>(items: Iterable<T>, of: (item: T) => number) => [...items].reduce((total, item) => total + of(item), 0);

/** What quantization adds to a layer. */
const besideNames = (layer: string) => [scaleName, zeroName, balanceName].map((nameOf) => nameOf(layer));

export function describeModel(manifest: Manifest, digest: string): ModelDescription {
  const { tensors, shards, files, quantization, pipeline, sampler, defaults, license, attribution } = manifest;
  const byName = new Map(tensors.map((tensor) => [tensor.name, tensor]));
  const layers = (quantization?.layers ?? []).map((layer): LayerDescription & { parameters: number } => {
    const weight = byName.get(`${layer.name}.weight`);
    const bias = byName.get(`${layer.name}.bias`);
    const parts = [weight, bias, ...besideNames(layer.name).map((name) => byName.get(name))];
    return {
      name: layer.name,
      shape: weight?.shape ?? [],
      encoding: weight?.encoding ?? 'missing',
      weightBits: layer.weightBits,
      activationBits: layer.activationBits,
      bytes: sum(parts, (part) => part?.length ?? 0),
      parameters: sum([weight, bias], (part) => (part ? elements(part) : 0)),
    };
  });
  const shardBytes = sum(shards, ({ length }) => length);
  const besides = new Set(layers.flatMap(({ name }) => besideNames(name)));
  const parameters = sum(tensors, (tensor) => (besides.has(tensor.name) ? 0 : elements(tensor)));
  const floatBytes16 = quantization?.floatBytes16 ?? 2 * parameters;
  return {
    model: manifest.model,
    digest,
    architecture: manifest.architecture,
    parameters,
    recipe: quantization?.recipe,
    bits: groupBy(layers, ({ weightBits, activationBits }) => `${weightBits}/${activationBits}`).map((group) => ({
      weightBits: group[0].weightBits,
      activationBits: group[0].activationBits,
      layers: group.length,
      parameters: sum(group, (layer) => layer.parameters),
      bytes: sum(group, (layer) => layer.bytes),
    })),
    encodings: groupBy(tensors, ({ encoding }) => encoding).map((group) => ({
      encoding: group[0].encoding,
      tensors: group.length,
      bytes: sum(group, ({ length }) => length),
    })),
    shards: {
      count: shards.length,
      bytes: shardBytes,
      paddingBytes: shardBytes - sum(tensors, ({ length }) => length),
    },
    files: files.map(({ name, parts, length }) => ({ name, parts: parts.length, bytes: length })),
    totalBytes: shardBytes + sum(files, ({ length }) => length),
    floatBytes16,
    ratio: shardBytes / floatBytes16,
    pipeline,
    sampler,
    defaults,
    license,
    attribution,
    layers: layers.map(({ parameters: _, ...layer }) => layer),
  };
}

/** Groups in the order in which their first members come. */
function groupBy<T>(items: readonly T[], key: (item: T) => string): T[][] {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const group = groups.get(key(item));
    if (group) group.push(item);
    else groups.set(key(item), [item]);
  }
  return [...groups.values()];
}
