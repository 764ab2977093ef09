/**
 * Tensors in, shards out, one at a time; and what a reader needs of a verified shard. A shard is a header of 64 bytes
 * and tensors at multiples of 64 with zeros between, so it is as long as a multiple of 64.
 *
 *   offset size  header (little-endian)
 *        0    8  "EDITSHRD"
 *        8    4  version, 1
 *       12    4  bytes of the header, 64
 *       16    8  bytes after the header
 *       24    4  number of tensors, at least 1
 *       28   36  zero, reserved
 */
import { EdgeDitError } from '../errors.ts';
import { ALIGNMENT, MAX_SHARD_BYTES } from './limits.ts';

export const SHARD_HEADER_BYTES = 64;
const MAGIC = 'EDITSHRD';
const VERSION = 1;
const RESERVED_AT = 28;

export interface ShardHeader {
  readonly payloadBytes: number;
  readonly tensors: number;
}

export const alignUp = (bytes: number) => Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;

/** Writes the header of a shard into its first 64 bytes, which are zero. */
export function writeShardHeader(shard: Uint8Array, tensors: number): void {
  const view = new DataView(shard.buffer, shard.byteOffset, SHARD_HEADER_BYTES);
  for (let i = 0; i < MAGIC.length; i++) view.setUint8(i, MAGIC.charCodeAt(i));
  view.setUint32(8, VERSION, true);
  view.setUint32(12, SHARD_HEADER_BYTES, true);
  view.setBigUint64(16, BigInt(shard.length - SHARD_HEADER_BYTES), true);
  view.setUint32(24, tensors, true);
}

/**
 * The header of a whole shard, every byte of it checked; `what` names the shard in messages.
 * @throws EdgeDitError `shard-malformed`
 */
export function readShardHeader(shard: Uint8Array, what: string): ShardHeader {
  const refuse = (message: string): never => {
    throw new EdgeDitError('shard-malformed', `${what}: ${message}; publish the model again.`);
  };
  if (shard.length <= SHARD_HEADER_BYTES || shard.length > MAX_SHARD_BYTES || shard.length % ALIGNMENT !== 0) {
    refuse(`${shard.length} bytes, a shard has a multiple of ${ALIGNMENT} from ${2 * ALIGNMENT} to ${MAX_SHARD_BYTES}`);
  }
  const view = new DataView(shard.buffer, shard.byteOffset, SHARD_HEADER_BYTES);
  for (let i = 0; i < MAGIC.length; i++) {
    if (view.getUint8(i) !== MAGIC.charCodeAt(i)) refuse(`does not start with "${MAGIC}", so it is not a shard`);
  }
  const version = view.getUint32(8, true);
  if (version !== VERSION) refuse(`version ${version}, this reader knows ${VERSION}`);
  const headerBytes = view.getUint32(12, true);
  if (headerBytes !== SHARD_HEADER_BYTES) refuse(`a header of ${headerBytes} bytes, expected ${SHARD_HEADER_BYTES}`);
  const payload = view.getBigUint64(16, true);
  const payloadBytes = shard.length - SHARD_HEADER_BYTES;
  if (payload !== BigInt(payloadBytes)) refuse(`the header says ${payload} bytes follow, there are ${payloadBytes}`);
  const tensors = view.getUint32(24, true);
  if (tensors < 1 || tensors > payloadBytes / ALIGNMENT) refuse(`${tensors} tensors in ${payloadBytes} bytes`);
  for (let i = RESERVED_AT; i < SHARD_HEADER_BYTES; i++) {
    if (shard[i] !== 0) refuse(`reserved byte ${i} of the header is ${shard[i]}, expected 0`);
  }
  return { payloadBytes, tensors };
}
