/**
 * A manifest in, a model of the same shapes out whose values are zeros, in memory that is made when it is read: what it takes
 * to load a model can be found without its bytes. Each group of tensors has shards of its own, so that it can be told
 * what each takes.
 */
import { shardKey } from '@edge-dit/runtime/format/keys';
import { MAX_SHARD_BYTES } from '@edge-dit/runtime/format/limits';
import type { Manifest, TensorRecord } from '@edge-dit/runtime/format/manifest';
import { alignUp, SHARD_HEADER_BYTES, writeShardHeader } from '@edge-dit/runtime/format/shard';
import type { ConfiguredArchitecture } from '@edge-dit/runtime/models/architecture';
import { streamOf } from '@edge-dit/runtime/stores/body';
import type { Store } from '@edge-dit/runtime/stores/store';
import { sha256Hex } from '@edge-dit/runtime/verify';

export interface ZeroModel {
  readonly store: Store;
  /** The manifest with other shards. */
  readonly manifest: Manifest;
  /** The group of each shard. */
  readonly groups: readonly string[];
  /** Bytes of the tensors of each group, as they are stored. */
  readonly groupBytes: ReadonlyMap<string, number>;
}

export async function zeroModel(
  manifest: Manifest,
  architecture: Pick<ConfiguredArchitecture, 'linears' | 'tables'>,
): Promise<ZeroModel> {
  const groupOf = groupFinder(architecture);
  const batches: { group: string; tensors: TensorRecord[]; bytes: number }[] = [];
  const groupBytes = new Map<string, number>();
  for (const tensor of manifest.tensors) {
    const group = groupOf(tensor.name);
    const bytes = alignUp(tensor.length);
    groupBytes.set(group, (groupBytes.get(group) ?? 0) + bytes);
    let batch = batches.at(-1);
    if (batch?.group !== group || SHARD_HEADER_BYTES + batch.bytes + bytes > MAX_SHARD_BYTES) {
      batch = { group, tensors: [], bytes: 0 };
      batches.push(batch);
    }
    const place = { shard: batches.length - 1, offset: SHARD_HEADER_BYTES + batch.bytes };
    batch.tensors.push({ ...tensor, ...place });
    batch.bytes += bytes;
  }
  const bytesOf = (index: number) => {
    const { tensors, bytes } = batches[index];
    const shard = new Uint8Array(SHARD_HEADER_BYTES + bytes);
    writeShardHeader(shard, tensors.length);
    // Layers of equal balances share their operands; these are not to look equal.
    for (const { name, offset } of tensors) {
      if (name.endsWith('.balance'))
        new DataView(shard.buffer).setUint16(offset, 1 + (tensors.length + offset / 64) + 64 * index, true);
    }
    return shard;
  };
  const index = new Map<string, number>();
  const shards: Manifest['shards'] = [];
  for (let i = 0; i < batches.length; i++) {
    const shard = bytesOf(i);
    const sha256 = await sha256Hex(shard);
    index.set(shardKey(sha256), i);
    shards.push({ sha256, length: shard.length });
  }
  const get: Store['get'] = async (key) => {
    const found = index.get(key);
    return found === undefined ? undefined : { body: streamOf(bytesOf(found)) };
  };
  return {
    store: { name: 'zeros', get },
    manifest: { ...manifest, shards, tensors: batches.flatMap(({ tensors }) => tensors) },
    groups: batches.map(({ group }) => group),
    groupBytes,
  };
}

/** `<layer>.weight`, `<layer>.bias`, and whatever stands beside the weight are of the layer's group. */
function groupFinder({ linears, tables }: Pick<ConfiguredArchitecture, 'linears' | 'tables'>) {
  const groups = new Map([...linears, ...tables].map(({ name, group }) => [name, group]));
  return (tensor: string): string => {
    const [, layer] = /^(.+?)\.(?:weight|bias)(?:\.\w+)?$/.exec(tensor) ?? [];
    return groups.get(tensor) ?? groups.get(layer ?? '') ?? 'start';
  };
}
