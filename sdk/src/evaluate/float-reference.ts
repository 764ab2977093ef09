/**
 * A checkpoint in, the same network published with float32 weights out: what quantized models are compared with. It runs
 * through the same pipeline as they do, and the digest of its manifest stands for the checkpoint's content.
 */
import { EdgeDitError, isEdgeDitError } from '@edge-dit/runtime/errors';
import type { Manifest, TensorRecord } from '@edge-dit/runtime/format/manifest';
import { type PackTensor, packShards } from '@edge-dit/runtime/format/pack';
import type { WritableStore } from '@edge-dit/runtime/stores/store';
import { type CanonicalCheckpoint, canonicalCheckpoint } from '../checkpoint/canonical.ts';
import type { Checkpoint } from '../checkpoint/checkpoint.ts';
import { publish } from '../publish/publish.ts';
import { describePipeline } from '../quantize/describe-pipeline.ts';

/** Its name in the store. */
export const FLOAT_REFERENCE = 'float32';
/** Of no effect: evaluations say what they ask for. */
const DEFAULTS = { steps: 20, guidance: 3 };

/**
 * Publishes the float32 network of a checkpoint under the name `FLOAT_REFERENCE`; again, when it is there, costs reading it.
 * @throws EdgeDitError what `describePipeline` and `publish` raise; `invalid-argument` for a tensor that no shard can hold
 */
export async function publishFloatReference(
  checkpoint: Checkpoint,
  store: WritableStore,
  signal?: AbortSignal,
): Promise<void> {
  const canonical = canonicalCheckpoint(checkpoint);
  const { files, ...described } = await describePipeline(checkpoint, canonical.architecture.geometry, DEFAULTS);
  const tensors: TensorRecord[] = [];
  const shardRecords: Manifest['shards'] = [];
  async function* shards() {
    for await (const { bytes, sha256, length, tensors: packed } of packShards(float32Tensors(canonical))) {
      tensors.push(...packed);
      shardRecords.push({ sha256, length });
      yield { sha256, bytes };
    }
  }
  const manifest = (): Manifest => ({
    format: 'edge-dit',
    version: 1,
    model: FLOAT_REFERENCE,
    architecture: checkpoint.architecture,
    config: { ...checkpoint.config },
    defaults: DEFAULTS,
    ...described,
    tensors,
    shards: shardRecords,
    files: files.map(({ record }) => record),
  });
  const sent = files.map(({ record, bytes }) => ({ name: record.name, bytes }));
  try {
    await publish({ store, model: FLOAT_REFERENCE, signal, shards: shards(), files: sent, manifest });
  } catch (cause) {
    if (!isEdgeDitError(cause, 'invalid-argument')) throw cause;
    const message = `${cause.message} Compare with an f16 model instead (--float) where float32 is too large for shards.`;
    throw new EdgeDitError('invalid-argument', message, { cause });
  }
}

/** In the order of the checkpoint, each a group of its own: nothing waits for the first block here. */
async function* float32Tensors({ tensors }: CanonicalCheckpoint): AsyncGenerator<PackTensor> {
  for (const { name, shape, read } of tensors.values()) {
    const data = await read();
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    yield { name, shape, encoding: 'f32', bytes, group: name };
  }
}
