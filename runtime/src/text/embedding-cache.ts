/**
 * A text encoder behind a cache that outlives the isolate: whose prompts are all in it needs no ONNX engine. Keys are
 * hashes of encoder and prompt; entries carry their own SHA-256, and what does not match it is computed again.
 *
 *     0   32  SHA-256 of the rest
 *     32   4  tokens      u32
 *     36   4  channels    u32
 *     40   …  embedding   float32 [tokens, channels]
 *     …    …  mask        int32 [tokens]
 */
import type { Manifest } from '../format/manifest.ts';
import type { CacheLike } from '../stores/cached.ts';
import { sha256Hex } from '../verify.ts';
import { type TextEncoder as PromptEncoder, stackEmbeddings, type TextEmbedding } from './conditioning.ts';

const DIGEST_BYTES = 32;
const HEADER_BYTES = DIGEST_BYTES + 8;

export interface EmbeddingCacheOptions {
  /** Is told what the cache failed at; the encoder answers then. */
  readonly onError?: (error: unknown) => void;
}

/** For `wrapEncoder` of a pipeline. */
export function embeddingCache(
  encoder: PromptEncoder,
  manifest: Manifest,
  cache: CacheLike,
  { onError }: EmbeddingCacheOptions = {},
): PromptEncoder {
  const identity = encoderIdentity(manifest);
  const attempt = async <T>(work: () => Promise<T>): Promise<T | undefined> => {
    try {
      return await work();
    } catch (error) {
      onError?.(error);
      return undefined;
    }
  };
  const lookUp = (key: string) =>
    attempt(async () => {
      const body = await cache.match(key);
      if (body === undefined) return undefined;
      const row = await unpackEmbedding(new Uint8Array(await new Response(body).arrayBuffer()));
      if (row === undefined) await cache.delete(key);
      return row;
    });
  return {
    async encode(prompts, signal) {
      const keys = await Promise.all(prompts.map((prompt) => embeddingKey(identity, prompt)));
      const rows = await Promise.all(keys.map(lookUp));
      const missing = prompts.flatMap((_, i) => (rows[i] === undefined ? [i] : []));
      if (missing.length > 0) {
        const fresh = await encoder.encode(
          missing.map((i) => prompts[i]),
          signal,
        );
        const stored = missing.map(async (at, i) => {
          const row = (rows[at] = rowOf(fresh, i));
          const bytes = await packEmbedding(row);
          await attempt(() => cache.put(keys[at], bytes));
        });
        await Promise.all(stored);
      }
      return stackEmbeddings(rows as TextEmbedding[]);
    },
  };
}

/** What decides about an embedding beside the prompt: the tokenizer's and the encoder's bytes. */
export function encoderIdentity({ files, pipeline: { conditioning } }: Manifest): string {
  if (conditioning.type !== 'text') return '';
  const digest = (name: string | undefined) => files.find((file) => file.name === name)?.sha256 ?? '';
  return `${digest(conditioning.tokenizer)}:${digest(conditioning.textEncoder)}`;
}

async function embeddingKey(identity: string, prompt: string): Promise<string> {
  return `embeddings/${await sha256Hex(new TextEncoder().encode(`${identity}\n${prompt}`))}`;
}

/** Hosts of WebAssembly are little-endian or make typed arrays look so; entries stay on the host that wrote them. */
export async function packEmbedding({ tokens, channels, data, mask }: TextEmbedding): Promise<Uint8Array> {
  const bytes = new Uint8Array(HEADER_BYTES + data.byteLength + mask.byteLength);
  new Uint32Array(bytes.buffer, DIGEST_BYTES, 2).set([tokens, channels]);
  new Float32Array(bytes.buffer, HEADER_BYTES, data.length).set(data);
  new Int32Array(bytes.buffer, HEADER_BYTES + data.byteLength, mask.length).set(mask);
  bytes.set(await digestOf(bytes.subarray(DIGEST_BYTES)));
  return bytes;
}

/** Undefined for whatever `packEmbedding` did not write. */
export async function unpackEmbedding(bytes: Uint8Array): Promise<TextEmbedding | undefined> {
  if (bytes.length < HEADER_BYTES) return undefined;
  const digest = await digestOf(bytes.subarray(DIGEST_BYTES));
  if (digest.some((byte, i) => byte !== bytes[i])) return undefined;
  const { buffer } = bytes.slice();
  const [tokens, channels] = new Uint32Array(buffer, DIGEST_BYTES, 2);
  if (bytes.length !== HEADER_BYTES + 4 * tokens * (channels + 1)) return undefined;
  const data = new Float32Array(buffer, HEADER_BYTES, tokens * channels);
  return { count: 1, tokens, channels, data, mask: new Int32Array(buffer, HEADER_BYTES + data.byteLength, tokens) };
}

async function digestOf(bytes: Uint8Array): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.digest('SHA-256', bytes as Uint8Array<ArrayBuffer>));
}

function rowOf({ tokens, channels, data, mask }: TextEmbedding, row: number): TextEmbedding {
  const size = tokens * channels;
  return {
    count: 1,
    tokens,
    channels,
    data: data.slice(row * size, (row + 1) * size),
    mask: mask.slice(row * tokens, (row + 1) * tokens),
  };
}
