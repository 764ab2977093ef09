/**
 * A generation between two steps, as bytes (FORMAT.md, "Checkpoints"). They carry the digest of the model and of what was
 * asked, so that they cannot be resumed as anything else, and a digest of their own.
 */
import { EdgeDitError } from './errors.ts';
import { bytesOfHex, hexOf } from './hex.ts';
import type { SampleCheckpoint } from './sample.ts';
import type { GenerateRequest, SettledRequest } from './settle-request.ts';
import type { TextEmbedding } from './text/conditioning.ts';
import { sha256Hex } from './verify.ts';

/** "EDCP" as a little-endian word. */
const MAGIC = 0x50434445;
const VERSION = 1;
const DIGEST_BYTES = 32;
const HEADER_BYTES = 8 + DIGEST_BYTES + 12;
/** The longest history of a sampler is that of UniPC of order 3: three outputs and a sample. */
const MAX_ARRAYS = 16;

/** SHA-256 in hex of everything that a picture depends on: the digest of the model, and the request. */
export async function requestIdentity(
  modelDigest: string,
  request: GenerateRequest,
  { steps, guidance, height, width }: SettledRequest,
): Promise<string> {
  const { prompt = null, negativePrompt = null, class: label = null, seed, embedding } = request;
  const rows = embedding ? await Promise.all([embedding.prompt, embedding.negative].map(embeddingDigest)) : null;
  const asked = [VERSION, modelDigest, prompt, negativePrompt, label, seed, steps, guidance, height, width, rows];
  return sha256Hex(new TextEncoder().encode(JSON.stringify(asked)));
}

/** @param identity of the request, see `requestIdentity` */
export async function packCheckpoint({ step, state }: SampleCheckpoint, identity: string): Promise<Uint8Array> {
  const arrays = [state.x, ...state.history];
  const bytes = new Uint8Array(HEADER_BYTES + arrays.length * state.x.byteLength + DIGEST_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, MAGIC, true);
  view.setUint32(4, VERSION, true);
  bytes.set(bytesOfHex(identity), 8);
  for (const [i, value] of [step, state.x.length, arrays.length].entries()) {
    view.setUint32(HEADER_BYTES - 12 + 4 * i, value, true);
  }
  for (const [i, values] of arrays.entries()) {
    // Hosts of WebAssembly are little-endian or make typed arrays look so.
    bytes.set(
      new Uint8Array(values.buffer, values.byteOffset, values.byteLength),
      HEADER_BYTES + i * state.x.byteLength,
    );
  }
  const end = bytes.length - DIGEST_BYTES;
  bytes.set(bytesOfHex(await sha256Hex(bytes.subarray(0, end))), end);
  return bytes;
}

export interface ExpectedCheckpoint {
  /** Of the request, see `requestIdentity`. */
  readonly identity: string;
  readonly steps: number;
  /** Values of a sample. */
  readonly length: number;
}

/** @throws EdgeDitError `resume-refused` for bytes that are damaged, of another version, or of another model or request */
export async function unpackCheckpoint(bytes: Uint8Array, expected: ExpectedCheckpoint): Promise<SampleCheckpoint> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const end = bytes.length - DIGEST_BYTES;
  if (end < HEADER_BYTES || view.getUint32(0, true) !== MAGIC) throw refused(`these ${bytes.length} bytes are none`);
  if (view.getUint32(4, true) !== VERSION) {
    throw refused(`it is of version ${view.getUint32(4, true)}, this software reads ${VERSION}`);
  }
  if ((await sha256Hex(bytes.subarray(0, end))) !== hexOf(bytes.subarray(end))) throw refused('its bytes are damaged');
  if (hexOf(bytes.subarray(8, 8 + DIGEST_BYTES)) !== expected.identity) {
    throw refused('it is of another model, another version of it, or another request');
  }
  const [step, length, count] = [0, 1, 2].map((i) => view.getUint32(HEADER_BYTES - 12 + 4 * i, true));
  const sized = length === expected.length && count >= 1 && count <= MAX_ARRAYS;
  if (!sized || step < 1 || step > expected.steps || end - HEADER_BYTES !== 4 * length * count) {
    throw refused(`step ${step}, ${count} arrays of ${length} values in ${bytes.length} bytes do not fit together`);
  }
  // A copy, which is aligned.
  const values = new Float32Array(bytes.slice(HEADER_BYTES, end).buffer);
  const [x, ...history] = Array.from({ length: count }, (_, i) => values.subarray(i * length, (i + 1) * length));
  return { step, state: { x, history } };
}

const refused = (reason: string) =>
  new EdgeDitError('resume-refused', `cannot go on from this checkpoint: ${reason}; start the generation anew.`);

async function embeddingDigest({ tokens, channels, data, mask }: TextEmbedding): Promise<string> {
  const bytes = [data, mask].map(
    ({ buffer, byteOffset, byteLength }) => new Uint8Array(buffer, byteOffset, byteLength),
  );
  return [tokens, channels, ...(await Promise.all(bytes.map(sha256Hex)))].join(' ');
}
