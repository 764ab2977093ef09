/**
 * A model for tests of publishing: the tiny random DiT of the fixtures in several small shards, in as many versions as are
 * asked for. A version has shards in common with others, and some of its own. Every one of them loads.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fetchFile, fetchShards } from '@edge-dit/runtime/fetch-model';
import type { Manifest, TensorRecord } from '@edge-dit/runtime/format/manifest';
import { type PackTensor, packShards } from '@edge-dit/runtime/format/pack';
import { loadManifest } from '@edge-dit/runtime/load-manifest';
import { MemoryStore } from '@edge-dit/runtime/stores/memory';
import type { Store, WritableStore } from '@edge-dit/runtime/stores/store';
import { openCheckpoint } from '../checkpoint/checkpoint.ts';
import { makeTinyPipeline } from '../cli/testing/tiny-pipeline.ts';
import type { PublishOptions } from '../publish/publish.ts';
import { quantize } from '../quantize/quantize.ts';
import { recipeByName } from '../recipes/index.ts';

/** Tensors in this order go to so many shards. */
const SHARDS = 6;

export type VersionedModel = Pick<PublishOptions, 'model' | 'manifest' | 'shards' | 'files'> & {
  readonly manifest: Manifest;
};

export class VersionedModels {
  readonly #manifest: Manifest;
  readonly #tensors: readonly PackTensor[];
  readonly #files: readonly { name: string; bytes: Uint8Array }[];

  private constructor(
    manifest: Manifest,
    tensors: readonly PackTensor[],
    files: readonly { name: string; bytes: Uint8Array }[],
  ) {
    this.#manifest = manifest;
    this.#tensors = tensors;
    this.#files = files;
  }

  /** Publishes what the versions are made of to `store`, so that other processes need only read it. */
  static async make(store: WritableStore = new MemoryStore()): Promise<VersionedModels> {
    const folder = await mkdtemp(join(tmpdir(), 'edge-dit-synthetic-'));
    const checkpoint = await openCheckpoint(await makeTinyPipeline(folder, 'dit'));
    await quantize({ checkpoint, recipe: recipeByName('w4a8'), model: 'base', store });
    await checkpoint.close();
    await rm(folder, { recursive: true });
    return VersionedModels.read(store);
  }

  static async read(store: Store): Promise<VersionedModels> {
    const { manifest } = await loadManifest(store, 'base');
    const tensors: PackTensor[] = [];
    for await (const { index, shard } of fetchShards(store, manifest)) {
      for (const record of manifest.tensors.filter((tensor) => tensor.shard === index)) {
        const { name, shape, encoding } = record;
        tensors.push({ name, shape, encoding, bytes: shard.tensorBytes(record), group: 'one' });
      }
    }
    const files = [];
    for (const file of manifest.files) files.push({ name: file.name, bytes: (await fetchFile(store, file)).bytes });
    return new VersionedModels(manifest, tensors, files);
  }

  /** Of the shards, the first bits of `version` say which differ from those of version 0. */
  async version(model: string, version: number): Promise<VersionedModel> {
    const shards: { sha256: string; bytes: Uint8Array }[] = [];
    const tensors: TensorRecord[] = [];
    const perShard = Math.ceil(this.#tensors.length / SHARDS);
    for (let index = 0; index < SHARDS; index++) {
      const own = this.#tensors.slice(index * perShard, (index + 1) * perShard);
      const packed = (version >> index) & 1 ? varied(own, version) : own;
      for await (const shard of packShards(packed)) {
        shards.push({ sha256: shard.sha256, bytes: shard.bytes });
        tensors.push(...shard.tensors.map((record) => ({ ...record, shard: index })));
      }
    }
    const records = shards.map(({ sha256, bytes }) => ({ sha256, length: bytes.length }));
    const manifest = { ...this.#manifest, model, tensors, shards: records, 'x-version': version };
    return { model, manifest, shards, files: this.#files };
  }
}

/** With other lowest bits in the first float16 tensor: still finite, and nearly the same. */
function varied(tensors: readonly PackTensor[], version: number): PackTensor[] {
  const at = tensors.findIndex(({ encoding }) => encoding === 'f16');
  return tensors.map((tensor, i) => {
    if (i !== at) return tensor;
    const bytes = tensor.bytes.slice();
    for (let bit = 0; bit < 32; bit++) bytes[(2 * bit) % (bytes.length & ~1)] ^= (version >> bit) & 1;
    return { ...tensor, bytes };
  });
}
