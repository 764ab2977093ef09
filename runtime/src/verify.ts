/**
 * Bytes and the SHA-256 that names them in, verified objects out. Only this file can construct them, so code that
 * asks for a `VerifiedShard` cannot be given anything that was not checked. The bytes are not copied: whoever verifies
 * them hands them over and does not write to them again.
 */
import { EdgeDitError } from './errors.ts';
import type { TensorRecord } from './format/manifest-schema.ts';
import { readShardHeader } from './format/shard.ts';
import { hexOf } from './hex.ts';

const VERIFIER = Symbol('verifier');

/** Bytes that have the SHA-256 that names them. */
export class VerifiedObject {
  readonly bytes: Uint8Array;
  readonly sha256: string;

  constructor(token: typeof VERIFIER, bytes: Uint8Array, sha256: string) {
    if (token !== VERIFIER) {
      throw new EdgeDitError('internal', `${new.target.name} was constructed outside of the verifier; use verify.ts.`);
    }
    this.bytes = bytes;
    this.sha256 = sha256;
  }
}

/** A verified object that is a shard: its header was checked too. */
export class VerifiedShard extends VerifiedObject {
  readonly tensorCount: number;

  constructor(token: typeof VERIFIER, bytes: Uint8Array, sha256: string, tensorCount: number) {
    super(token, bytes, sha256);
    this.tensorCount = tensorCount;
  }

  /** A view of the bytes of one of its tensors. */
  tensorBytes(tensor: TensorRecord): Uint8Array {
    if (tensor.offset + tensor.length > this.bytes.length) {
      throw new EdgeDitError(
        'shard-malformed',
        `tensor ${tensor.name} ends at ${tensor.offset + tensor.length}, beyond shard ${this.sha256} of ${this.bytes.length} bytes; it is of another manifest.`,
      );
    }
    return this.bytes.subarray(tensor.offset, tensor.offset + tensor.length);
  }
}

/** SHA-256 in lower-case hex. */
export async function sha256Hex(bytes: Uint8Array): Promise<string> {
  const digest = await crypto.subtle.digest('SHA-256', bytes as Uint8Array<ArrayBuffer>);
  return hexOf(new Uint8Array(digest));
}

/**
 * Checks bytes against the digest that names them; `what` names them in messages.
 * @throws EdgeDitError `digest-mismatch`
 */
export async function verifyObject(bytes: Uint8Array, expectedSha256: string, what: string): Promise<VerifiedObject> {
  const sha256 = await sha256Hex(bytes);
  if (sha256 !== expectedSha256) {
    throw new EdgeDitError(
      'digest-mismatch',
      `${what}: SHA-256 is ${sha256}, expected ${expectedSha256} (${bytes.length} bytes); purge caches on the way or publish the model again.`,
    );
  }
  return new VerifiedObject(VERIFIER, bytes, sha256);
}

/**
 * A verified object as a shard; with `tensorCount`, one that holds that many tensors.
 * @throws EdgeDitError `shard-malformed`
 */
export function shardOf(object: VerifiedObject, what: string, tensorCount?: number): VerifiedShard {
  const { tensors } = readShardHeader(object.bytes, what);
  if (tensorCount !== undefined && tensors !== tensorCount) {
    throw new EdgeDitError(
      'shard-malformed',
      `${what}: holds ${tensors} tensors, the manifest says ${tensorCount}; publish the model again.`,
    );
  }
  return new VerifiedShard(VERIFIER, object.bytes, object.sha256, tensors);
}

/**
 * Checks the digest of a shard, then its header.
 * @throws EdgeDitError `digest-mismatch`, `shard-malformed`
 */
export async function verifyShard(bytes: Uint8Array, expectedSha256: string, what: string): Promise<VerifiedShard> {
  return shardOf(await verifyObject(bytes, expectedSha256, what), what);
}
