import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isEdgeDitError } from '../errors.ts';
import { shardOf, VerifiedShard, verifyObject, verifyShard } from '../verify.ts';
import { MAX_SHARD_BYTES, SHARD_TARGET_BYTES } from './limits.ts';
import { type PackedShard, type PackTensor, packShards } from './pack.ts';
import { readShardHeader } from './shard.ts';

const MIB = 2 ** 20;
async function packAll(tensors: PackTensor[]): Promise<PackedShard[]> {
  const shards: PackedShard[] = [];
  for await (const shard of packShards(tensors)) shards.push(shard);
  return shards;
}

let seed = 1;
function tensor(name: string, bytes: number, group: string): PackTensor {
  const content = new Uint8Array(bytes);
  for (let i = 0; i < bytes; i += 997) content[i] = seed = (seed * 75 + 74) & 255;
  if (bytes > 0) content[bytes - 1] = 7;
  return { name, shape: [bytes], encoding: 'u8', bytes: content, group };
}

test('groups share a shard where they fit, in order, aligned, with zeros between', async () => {
  const tensors = [
    tensor('a', 1 * MIB, 'embed'),
    tensor('b', 2 * MIB, 'block 0'),
    tensor('c', MIB / 2 + 1, 'block 0'),
    tensor('d', 2 * MIB, 'block 1'),
    tensor('e', 2 * MIB, 'block 1'),
    tensor('f', 7 * MIB, 'block 2'),
    tensor('g', 6 * MIB, 'block 2'),
    tensor('h', 7 * MIB, 'too large'),
    tensor('i', 3 * MIB, 'too large'),
    tensor('j', 7 * MIB, 'too large'),
    tensor('k', 1, 'last'),
  ];
  const shards = await packAll(tensors);
  const layout = shards.map((shard) => shard.tensors.map(({ name }) => name).join(''));
  assert.deepEqual(layout, ['abc', 'de', 'fg', 'h', 'i', 'j', 'k']);
  for (const [index, shard] of shards.entries()) {
    assert.equal(shard.index, index);
    assert.equal(shard.length, shard.bytes.length);
    assert.ok(shard.length <= MAX_SHARD_BYTES);
    const verified = await verifyShard(shard.bytes, shard.sha256, 'shard');
    assert.equal(verified.tensorCount, shard.tensors.length);
    let end = 64;
    for (const record of shard.tensors) {
      assert.equal(record.offset, end);
      assert.equal(record.shard, index);
      const original = tensors.find(({ name }) => name === record.name)!;
      assert.equal(Buffer.compare(verified.tensorBytes(record), original.bytes), 0);
      end = Math.ceil((record.offset + record.length) / 64) * 64;
      assert.ok(shard.bytes.subarray(record.offset + record.length, end).every((byte) => byte === 0));
    }
    assert.equal(end, shard.length);
  }
});

test('a model is never held whole: at most a group and a shard are taken before one is given', async () => {
  let taken = 0;
  let given = 0;
  let most = 0;
  function* blocks() {
    for (let i = 0; i < 24; i++) {
      const next = tensor(`t${i}`, MIB, `block ${i >> 1}`);
      taken += MIB;
      most = Math.max(most, taken - given);
      yield next;
    }
  }
  for await (const shard of packShards(blocks())) {
    given += shard.length;
  }
  assert.ok(most <= SHARD_TARGET_BYTES + 4 * MIB, `${most} bytes were held`);
});

test('tensors that cannot be packed are refused by name', async () => {
  const refused = (tensors: PackTensor[], message: RegExp) =>
    assert.rejects(packAll(tensors), (error) => {
      assert.ok(isEdgeDitError(error));
      assert.match(error.message, message);
      return true;
    });
  const fine = tensor('a', 10, 'g');
  await refused([{ ...fine, shape: [11] }], /tensor a: got 10 bytes, u8 of \[11\] takes 11/);
  await refused([fine, fine], /tensor a: the name is used twice/);
  await refused([{ ...fine, name: 'a b' }], /tensor a b: name/);
  await refused([{ ...fine, encoding: 'x' }], /unknown encoding "x"/);
  await refused([tensor('big', MAX_SHARD_BYTES - 63, 'g')], /tensor big: its 16777153 bytes do not fit a shard/);
  await refused(
    [fine, tensor('b', 10, 'h'), tensor('c', 10, 'g')],
    /tensor c: group "g" is not consecutive; sort the tensors by group/,
  );
  assert.deepEqual(await packAll([]), []);
});

test('every byte of a header is checked', async () => {
  const [{ bytes }] = await packAll([tensor('a', 100, 'g')]);
  assert.deepEqual(readShardHeader(bytes, 'shard'), { payloadBytes: 128, tensors: 1 });
  for (let i = 0; i < 64; i++) {
    const changed = bytes.slice();
    changed[i] ^= 4;
    assert.throws(
      () => readShardHeader(changed, 'shard x'),
      (error) => isEdgeDitError(error, 'shard-malformed') && error.message.startsWith('shard x: '),
      `byte ${i}`,
    );
  }
  for (const length of [0, 1, 63, 64, 65, 127, 191]) {
    assert.throws(() => readShardHeader(bytes.subarray(0, length), 'x'), /a shard has a multiple of 64/);
  }
});

test('only the verifier makes verified shards', async () => {
  const [{ bytes, sha256, tensors }] = await packAll([tensor('a', 100, 'g')]);
  const wrong = sha256.replace(/^./, (digit) => (digit === '0' ? '1' : '0'));
  await assert.rejects(verifyShard(bytes, wrong, 'shard 3'), (error) => {
    assert.ok(isEdgeDitError(error, 'digest-mismatch'));
    assert.ok(error.message.includes(`shard 3: SHA-256 is ${sha256}, expected ${wrong}`));
    return true;
  });
  // @ts-expect-error the token is private to the verifier
  assert.throws(() => new VerifiedShard(Symbol('verifier'), bytes, sha256, 1), /outside of the verifier/);
  const object = await verifyObject(bytes, sha256, 'shard');
  assert.throws(() => shardOf(object, 'shard', 2), /shard: holds 1 tensors, the manifest says 2/);
  assert.throws(
    () => shardOf(object, 'shard').tensorBytes({ ...tensors[0], offset: 128 }),
    /tensor a ends at 228, beyond/,
  );
});
