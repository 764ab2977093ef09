/** Mutations of good manifests and shards, from a fixed seed: each is refused with a typed error or read correctly. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { isEdgeDitError } from '../errors.ts';
import { mutateBytes, mutateTree, random } from '../testing/mutate.ts';
import { sha256Hex, verifyShard } from '../verify.ts';
import { encodingByName } from './encodings.ts';
import { type Manifest, parseManifest, serializeManifest } from './manifest.ts';
import { readShardHeader } from './shard.ts';

const ROUNDS = 10_000;
const SEED = 20_240_607;
/** Inputs are a few kilobytes; whatever takes more than this for one of them allocates by what the input claims. */
const MAX_GROWTH_BYTES = 96 * 2 ** 20;

const fixtures = fileURLToPath(new URL('../../fixtures/format-v1', import.meta.url));
const manifestBytes = new Uint8Array(readFileSync(`${fixtures}/manifests/${readdirSync(`${fixtures}/manifests`)[0]}`));
const golden = parseManifest(manifestBytes);

/** What `parseManifest` promises of whatever it lets through. */
function checkPromises(manifest: Manifest): void {
  const ends = new Map<number, number>();
  for (const { shape, encoding, shard, offset, length } of manifest.tensors) {
    assert.equal(encodingByName(encoding).byteLength(shape), length);
    assert.ok(offset >= (ends.get(shard) ?? 64) && offset % 64 === 0);
    ends.set(shard, offset + length);
    assert.ok(offset + length <= manifest.shards[shard].length && manifest.shards[shard].length <= 2 ** 24);
  }
  assert.equal(new Set(manifest.tensors.map(({ name }) => name)).size, manifest.tensors.length);
  assert.deepEqual(parseManifest(serializeManifest(manifest)), manifest);
}

function peakGrowth(): () => number {
  const before = process.resourceUsage().maxRSS;
  return () => (process.resourceUsage().maxRSS - before) * 1024;
}

test(`${ROUNDS} mutated manifests (seed ${SEED})`, { timeout: 180_000 }, () => {
  const below = random(SEED);
  const text = new TextDecoder().decode(manifestBytes);
  const growth = peakGrowth();
  let accepted = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const bytes = round % 2 === 0 ? mutateBytes(manifestBytes, below) : mutateTree(text, below);
    let manifest: Manifest;
    try {
      manifest = parseManifest(bytes);
    } catch (error) {
      assert.ok(isEdgeDitError(error, 'manifest-invalid'), `round ${round}: ${error}`);
      continue;
    }
    checkPromises(manifest);
    accepted++;
  }
  // Both outcomes must be common, or the mutations test nothing.
  assert.ok(accepted > ROUNDS / 100 && accepted < ROUNDS / 2, `${accepted} were accepted`);
  assert.ok(growth() < MAX_GROWTH_BYTES, `memory grew by ${growth()} bytes`);
});

test(`${ROUNDS} mutated shards (seed ${SEED})`, { timeout: 180_000 }, async () => {
  const below = random(SEED + 1);
  const growth = peakGrowth();
  let accepted = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const index = below(golden.shards.length);
    const { sha256 } = golden.shards[index];
    const original = new Uint8Array(readFileSync(`${fixtures}/shards/${sha256}`));
    // Half of them keep their length and header: what matters then is the payload.
    const bytes = round % 2 === 0 ? mutateBytes(original, below) : original.slice();
    if (round % 2 === 1) bytes[64 + below(bytes.length - 64)] ^= 1 + below(255);
    const tensors = golden.tensors.filter(({ shard }) => shard === index);
    if (Buffer.compare(bytes, original) !== 0) {
      await assert.rejects(verifyShard(bytes, sha256, 'shard'), (error) => isEdgeDitError(error, 'digest-mismatch'));
    }
    try {
      const shard = await verifyShard(bytes, await sha256Hex(bytes), 'shard');
      assert.equal(shard.tensorCount, shard.bytes[24] + 256 * shard.bytes[25]);
      for (const tensor of tensors) {
        const decoded = encodingByName(tensor.encoding).decode(shard.tensorBytes(tensor), tensor.shape);
        assert.equal(
          decoded.length,
          tensor.shape.reduce((product, size) => product * size, 1),
        );
      }
      accepted++;
    } catch (error) {
      assert.ok(isEdgeDitError(error, 'shard-malformed'), `round ${round}: ${error}`);
    }
  }
  assert.ok(accepted > ROUNDS / 3 && accepted < (ROUNDS * 3) / 4, `${accepted} were accepted`);
  assert.ok(growth() < MAX_GROWTH_BYTES, `memory grew by ${growth()} bytes`);
});

test(`${ROUNDS} mutated shard headers (seed ${SEED})`, { timeout: 180_000 }, () => {
  const below = random(SEED + 2);
  const growth = peakGrowth();
  const originals = golden.shards.map(({ sha256 }) => new Uint8Array(readFileSync(`${fixtures}/shards/${sha256}`)));
  let accepted = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const original = originals[below(originals.length)];
    const bytes = original.slice();
    for (let edits = 1 + below(3); edits > 0; edits--) bytes[below(64)] = below(2) === 0 ? below(256) : below(4);
    try {
      const { payloadBytes, tensors } = readShardHeader(bytes, 'shard');
      assert.equal(payloadBytes, original.length - 64);
      assert.ok(tensors >= 1 && tensors <= payloadBytes / 64);
      accepted++;
    } catch (error) {
      assert.ok(isEdgeDitError(error, 'shard-malformed'), `round ${round}: ${error}`);
    }
  }
  // Most reserved bytes are zero, and stay so in some rounds.
  assert.ok(accepted > ROUNDS / 100 && accepted < ROUNDS / 2, `${accepted} were accepted`);
  assert.ok(growth() < MAX_GROWTH_BYTES, `memory grew by ${growth()} bytes`);
});
