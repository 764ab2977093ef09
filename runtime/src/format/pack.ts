/**
 * A stream of tensors in, a stream of shards out: at most one shard and one group are held at a time. The order is
 * kept; tensors of one group (a transformer block) share a shard wherever a shard can hold them.
 */
import { EdgeDitError } from '../errors.ts';
import { sha256Hex } from '../verify.ts';
import { zodMessages } from '../zod-messages.ts';
import { encodingByName } from './encodings.ts';
import { MAX_SHARD_BYTES, SHARD_TARGET_BYTES } from './limits.ts';
import { packedRecord, type TensorRecord } from './manifest-schema.ts';
import { alignUp, SHARD_HEADER_BYTES, writeShardHeader } from './shard.ts';

export interface PackTensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly encoding: string;
  /** In the encoding; not to be changed until its shard was delivered. */
  readonly bytes: Uint8Array;
  /** Consecutive tensors of the same group are kept together. */
  readonly group: string;
}

export interface PackedShard {
  readonly index: number;
  readonly bytes: Uint8Array;
  readonly sha256: string;
  readonly length: number;
  /** Records of its tensors, for the manifest. */
  readonly tensors: TensorRecord[];
}

const PAYLOAD_LIMIT = MAX_SHARD_BYTES - SHARD_HEADER_BYTES;

/** Tensors that will lie in one shard, and the bytes that they take there. */
class Batch {
  readonly tensors: PackTensor[] = [];
  bytes = 0;

  add(tensor: PackTensor): void {
    this.tensors.push(tensor);
    this.bytes += alignUp(tensor.bytes.length);
  }
}

/**
 * Packs tensors into shards of about 4 MiB: a group that would exceed the target starts a new shard, a group of
 * 4 to 16 MiB has its own, a larger one is spread over several.
 * @throws EdgeDitError `invalid-argument` for a tensor whose bytes do not fit its encoding, a name used twice, a group
 *   that is not consecutive, or a tensor that no shard can hold
 */
export async function* packShards(
  tensors: Iterable<PackTensor> | AsyncIterable<PackTensor>,
): AsyncGenerator<PackedShard, void, undefined> {
  const check = tensorCheck();
  let index = 0;
  let shard = new Batch();
  let group = new Batch();
  let name: string | undefined;

  /** Moves the closed group into the shard, or starts a new one with it; gives what became full. */
  const close = (): Batch[] => {
    const full: Batch[] = [];
    if (shard.tensors.length > 0 && shard.bytes + group.bytes > SHARD_TARGET_BYTES) {
      full.push(shard);
      shard = new Batch();
    }
    if (group.bytes <= PAYLOAD_LIMIT) for (const tensor of group.tensors) shard.add(tensor);
    else {
      for (const tensor of group.tensors) {
        if (shard.tensors.length > 0 && shard.bytes + alignUp(tensor.bytes.length) > SHARD_TARGET_BYTES) {
          full.push(shard);
          shard = new Batch();
        }
        shard.add(tensor);
      }
    }
    group = new Batch();
    return full;
  };

  for await (const tensor of tensors) {
    check(tensor);
    if (tensor.group !== name) {
      for (const full of close()) yield await build(full, index++);
      name = tensor.group;
    }
    group.add(tensor);
  }
  for (const full of close()) yield await build(full, index++);
  if (shard.tensors.length > 0) yield await build(shard, index);
}

async function build(batch: Batch, index: number): Promise<PackedShard> {
  const bytes = new Uint8Array(SHARD_HEADER_BYTES + batch.bytes);
  writeShardHeader(bytes, batch.tensors.length);
  let offset = SHARD_HEADER_BYTES;
  const tensors = batch.tensors.map(({ name, shape, encoding, bytes: content }): TensorRecord => {
    bytes.set(content, offset);
    const record = { name, shape: [...shape], encoding, shard: index, offset, length: content.length };
    offset += alignUp(content.length);
    return record;
  });
  return { index, bytes, sha256: await sha256Hex(bytes), length: bytes.length, tensors };
}

function tensorCheck(): (tensor: PackTensor) => void {
  const names = new Set<string>();
  const groups = new Set<string>();
  let last: string | undefined;
  return ({ name, shape, encoding, bytes, group }) => {
    const refuse = (message: string): never => {
      throw new EdgeDitError('invalid-argument', `tensor ${name}: ${message}`);
    };
    const expected = encodingByName(encoding).byteLength(shape);
    if (bytes.length !== expected) {
      refuse(`got ${bytes.length} bytes, ${encoding} of [${shape}] takes ${expected}.`);
    }
    if (alignUp(bytes.length) > PAYLOAD_LIMIT) {
      refuse(`its ${bytes.length} bytes do not fit a shard (${PAYLOAD_LIMIT}); use an encoding with fewer bits.`);
    }
    const form = packedRecord.safeParse({ name, shape, length: bytes.length }, zodMessages);
    if (!form.success) refuse(`${form.error.issues[0].path.join('.')}: ${form.error.issues[0].message}.`);
    if (names.has(name)) refuse('the name is used twice.');
    names.add(name);
    if (group !== last && groups.has(group)) refuse(`group "${group}" is not consecutive; sort the tensors by group.`);
    groups.add(group);
    last = group;
  };
}
