/**
 * Bytes of unknown origin in, a consistent manifest out: whatever parses here may be indexed, allocated for and
 * fetched without further checks. Everything else is `manifest-invalid`, naming the field.
 */
import { EdgeDitError, isEdgeDitError } from '../errors.ts';
import { zodMessages } from '../zod-messages.ts';
import { encodingByName } from './encodings.ts';
import { canonicalJson, formatPath, parseBoundedJson } from './json.ts';
import { MAX_ELEMENTS, MAX_MANIFEST_BYTES, MAX_TOTAL_BYTES, PART_BYTES } from './limits.ts';
import { EXTENSION_PREFIX, type Manifest, manifestSchema } from './manifest-schema.ts';

export type { FileRecord, Manifest, ShardRecord, TensorRecord } from './manifest-schema.ts';

type Refuse = (field: string, message: string) => never;

/**
 * Parses and checks a manifest; `what` names it in messages.
 * @throws EdgeDitError `manifest-invalid`
 */
export function parseManifest(bytes: Uint8Array, what = 'manifest'): Manifest {
  const manifest = checkFields(parseBoundedJson(bytes, MAX_MANIFEST_BYTES, what), what);
  const refuse: Refuse = (field, message) => {
    throw new EdgeDitError('manifest-invalid', `${what}: ${field}: ${message}`);
  };
  checkTotal(manifest, refuse);
  checkTensors(manifest, refuse);
  checkFiles(manifest, refuse);
  checkPipeline(manifest, refuse);
  return manifest;
}

/**
 * Canonical bytes (see `canonicalJson`) and a newline: equal manifests give equal bytes, and so equal digests.
 * @throws EdgeDitError `manifest-invalid` for a manifest that `parseManifest` would refuse
 */
export function serializeManifest(manifest: Manifest): Uint8Array {
  const bytes = new TextEncoder().encode(`${canonicalJson(manifest)}\n`);
  parseManifest(bytes, `manifest of ${manifest.model}`);
  return bytes;
}

function checkFields(value: unknown, what: string): Manifest {
  const fail = (field: string, message: string) =>
    new EdgeDitError('manifest-invalid', `${what}: ${field}: ${message.slice(0, 300)}`);
  if (value === null || typeof value !== 'object' || Array.isArray(value)) throw fail('(top)', 'must be an object');
  const { format, version } = value as Record<string, unknown>;
  if (format === 'edge-dit' && typeof version === 'number' && version !== 1) {
    throw fail('version', `got ${version}, this reader knows 1; update edge-dit or publish the model again`);
  }
  const extensions: Record<`x-${string}`, unknown> = {};
  for (const [key, item] of Object.entries(value)) {
    if (key.startsWith(EXTENSION_PREFIX)) extensions[key as `x-${string}`] = item;
    else if (!Object.hasOwn(manifestSchema.shape, key)) {
      throw fail(key.slice(0, 100), `unknown in version 1; own keys start with "${EXTENSION_PREFIX}"`);
    }
  }
  const result = manifestSchema.safeParse(value, zodMessages);
  if (!result.success) {
    const [issue] = result.error.issues;
    throw fail(formatPath(issue.path), issue.message);
  }
  return { ...result.data, ...extensions };
}

function checkTotal(manifest: Manifest, refuse: Refuse): void {
  let total = 0;
  for (const shard of manifest.shards) total += shard.length;
  for (const file of manifest.files) total += file.length;
  if (total > MAX_TOTAL_BYTES) refuse('shards', `${total} bytes with the files, at most ${MAX_TOTAL_BYTES}`);
}

/** Tensors lie in the order of (shard, offset), so that overlaps show between neighbours. */
function checkTensors(manifest: Manifest, refuse: Refuse): void {
  const { tensors, shards } = manifest;
  if (tensors.length === 0) refuse('tensors', 'a model has at least one');
  const names = new Set<string>();
  let shard = 0;
  let end = 0;
  tensors.forEach((tensor, i) => {
    const field = `tensors[${i}]`;
    if (names.has(tensor.name)) refuse(`${field}.name`, `"${tensor.name}" is used twice`);
    names.add(tensor.name);
    const expected = encodedLength(tensor.encoding, tensor.shape, field, refuse);
    if (tensor.length !== expected) {
      refuse(`${field}.length`, `got ${tensor.length}, ${tensor.encoding} of [${tensor.shape}] takes ${expected}`);
    }
    if (tensor.shard >= shards.length) refuse(`${field}.shard`, `got ${tensor.shard} of ${shards.length} shards`);
    if (i === 0 ? tensor.shard !== 0 : tensor.shard !== shard && tensor.shard !== shard + 1) {
      refuse(
        `${field}.shard`,
        `got ${tensor.shard} after ${shard}; tensors are in the order of shards, none of them empty`,
      );
    }
    if (tensor.shard !== shard) end = 0;
    if (tensor.offset < end)
      refuse(`${field}.offset`, `${tensor.offset} is within the tensor before, which ends at ${end}`);
    shard = tensor.shard;
    end = tensor.offset + tensor.length;
    if (end > shards[shard].length) {
      refuse(`${field}.length`, `ends at ${end}, beyond its shard of ${shards[shard].length} bytes`);
    }
  });
  if (shard !== shards.length - 1) refuse('shards', `${shards.length} listed, tensors use ${shard + 1}`);
}

function encodedLength(encoding: string, shape: readonly number[], field: string, refuse: Refuse): number {
  let product = 1;
  for (const size of shape) {
    product *= size;
    if (product > MAX_ELEMENTS) refuse(`${field}.shape`, `[${shape}] is more than ${MAX_ELEMENTS} elements`);
  }
  try {
    return encodingByName(encoding).byteLength(shape);
  } catch (error) {
    if (!isEdgeDitError(error)) throw error;
    return refuse(`${field}.encoding`, error.message);
  }
}

function checkFiles(manifest: Manifest, refuse: Refuse): void {
  const names = new Set<string>();
  manifest.files.forEach((file, i) => {
    const field = `files[${i}]`;
    if (names.has(file.name)) refuse(`${field}.name`, `"${file.name}" is used twice`);
    names.add(file.name);
    const count = Math.ceil(file.length / PART_BYTES);
    if (file.parts.length !== count) {
      refuse(`${field}.parts`, `got ${file.parts.length}, ${file.length} bytes are ${count} parts`);
    }
    file.parts.forEach((part, p) => {
      const expected = Math.min(PART_BYTES, file.length - p * PART_BYTES);
      if (part.length !== expected) {
        refuse(
          `${field}.parts[${p}].length`,
          `got ${part.length}, expected ${expected}: all but the last are ${PART_BYTES}`,
        );
      }
    });
  });
}

function checkPipeline({ pipeline, files }: Manifest, refuse: Refuse): void {
  const known = new Set(files.map((file) => file.name));
  const named = (field: string, file: string | undefined) => {
    if (file !== undefined && !known.has(file)) refuse(`pipeline.${field}`, `"${file}" is not among the files`);
  };
  const { conditioning, vae, space } = pipeline;
  if (conditioning.type === 'text') {
    named('conditioning.tokenizer', conditioning.tokenizer);
    named('conditioning.textEncoder', conditioning.textEncoder);
  } else if (conditioning.names !== undefined && conditioning.names.length !== conditioning.count) {
    refuse('pipeline.conditioning.names', `got ${conditioning.names.length} for ${conditioning.count} classes`);
  }
  named('vae.decoder', vae?.decoder);
  if ((space === 'latent') !== (vae !== undefined)) {
    refuse('pipeline.vae', space === 'latent' ? 'missing, but the space is latent' : 'given, but the space is pixel');
  }
}
