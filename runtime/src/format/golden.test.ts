/** Format version 1 as it was written once: these files never change, and every later reader must give these values. */
import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { fetchFile, fetchShards } from '../fetch-model.ts';
import { loadManifest } from '../load-manifest.ts';
import { Meter } from '../meter.ts';
import { FsStore } from '../stores/fs.ts';
import { encodingByName, panelsFromCodes } from './encodings.ts';
import { floatToHalf } from './half.ts';
import { parseManifest, serializeManifest } from './manifest.ts';
import { packShards } from './pack.ts';

const folder = fileURLToPath(new URL('../../fixtures/format-v1', import.meta.url));
const DIGEST = '8b75d40e5491b31b569fd469584262d4e19016f1de4c3851d845ca02af242bd7';

const values: Record<string, number[]> = {
  'embed.weight': [0.5, -1.5, 3.25, Math.fround(1e-3), 0, 65536],
  'embed.bias': [1, -2, 0.333251953125, 65504, 2 ** -24],
  scale: [-0.125],
  flags: [0, 1, 2, 127, 128, 254, 255],
  'blocks.0.to_q.weight': Array.from({ length: 45 }, (_, i) => 255 - i * 5),
  'blocks.0.to_k.weight': Array.from({ length: 18 }, (_, i) => (i * 7) % 16),
};

test('the files of version 1 load to their exact values, and the meter is even after', async () => {
  const store = new FsStore(folder);
  const meter = new Meter();
  const { manifest, digest } = await loadManifest(store, 'tiny', { meter });
  assert.equal(digest, DIGEST);
  assert.equal(manifest.architecture, 'PixArtTransformer2DModel');
  assert.deepEqual(manifest.config, { sample_size: 8, patch_size: 2, interpolation_scale: null });
  assert.deepEqual(manifest['x-note'], { b: 2, a: [1, null, true] });
  const seen: Record<string, number[]> = {};
  for await (const { index, shard, release } of fetchShards(store, manifest, { meter })) {
    for (const tensor of manifest.tensors.filter((candidate) => candidate.shard === index)) {
      const decoded = encodingByName(tensor.encoding).decode(shard.tensorBytes(tensor), tensor.shape);
      seen[tensor.name] = [...decoded];
    }
    release();
  }
  assert.deepEqual(seen, values);
  const file = await fetchFile(store, manifest.files[0], { meter });
  assert.equal(new TextDecoder().decode(file.bytes), '{"note":"stands for a tokenizer"}\n');
  file.release();
  assert.equal(meter.current, 0);
});

test('the manifest is written as it was', async () => {
  const bytes = await readFile(join(folder, 'manifests', `${DIGEST}.json`));
  assert.deepEqual(Buffer.from(serializeManifest(parseManifest(bytes))), bytes);
});

test('a shard is packed as it was', async () => {
  const packing = packShards([
    {
      name: 'blocks.0.to_q.weight',
      shape: [9, 5],
      encoding: 'u8-8x4',
      bytes: panelsFromCodes(Uint8Array.from(values['blocks.0.to_q.weight']), 9, 5),
      group: 'blocks.0',
    },
    {
      name: 'blocks.0.to_k.weight',
      shape: [3, 6],
      encoding: 'u4-8x4',
      bytes: panelsFromCodes(Uint8Array.from(values['blocks.0.to_k.weight']), 3, 6, 4),
      group: 'blocks.0',
    },
  ]);
  const { value: packed } = await packing.next();
  assert.ok(packed);
  const shards = await readdir(join(folder, 'shards'));
  assert.ok(shards.includes(packed.sha256));
  assert.deepEqual(Buffer.from(packed.bytes), await readFile(join(folder, 'shards', packed.sha256)));
});

test('halves are written as they were', () => {
  assert.deepEqual(values['embed.bias'].map(floatToHalf), [0x3c00, 0xc000, 0x3555, 0x7bff, 0x0001]);
});
