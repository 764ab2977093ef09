/**
 * Prompts in, embeddings out, computed by an endpoint (`POST /embed`): a device that denoises needs neither tokenizer nor
 * text encoder. What comes carries its own SHA-256, and must be of the encoder that this model's manifest names.
 */

import { eitherSignal } from '../either-signal.ts';
import { EdgeDitError, isEdgeDitError } from '../errors.ts';
import type { Manifest } from '../format/manifest.ts';
import { throwIfAborted } from '../stores/store-error.ts';
import { stackEmbeddings, type TextEmbedding, type TextEncoder } from './conditioning.ts';
import { encoderIdentity, unpackEmbedding } from './embedding-cache.ts';

export interface RemoteEncoderOptions {
  /** Sent with each request, for example `authorization`. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Milliseconds for one prompt. Default 20,000: an endpoint that was idle loads its encoder first. */
  readonly timeoutMs?: number;
  readonly fetch?: (url: string, init: RequestInit) => Promise<Response>;
}

const TIMEOUT_MS = 20_000;
/** 512 tokens of 4096 channels, the largest published, and its mask. */
const MAX_BYTES = 512 * 4097 * 4 + 4096;

/** @param endpoint its base address, such as `https://example.com` */
export function remoteTextEncoder(
  endpoint: string,
  manifest: Manifest,
  options: RemoteEncoderOptions = {},
): TextEncoder {
  const { headers, timeoutMs = TIMEOUT_MS, fetch: send = (url, init) => fetch(url, init) } = options;
  const url = new URL('embed', `${endpoint.replace(/\/$/, '')}/`).href;
  const identity = encoderIdentity(manifest);

  const embed = async (prompt: string, signal?: AbortSignal): Promise<TextEmbedding> => {
    const timeout = AbortSignal.timeout(timeoutMs);
    let response: Response;
    let bytes: Uint8Array;
    try {
      response = await send(url, {
        method: 'POST',
        headers: { ...headers, 'content-type': 'application/json', accept: 'application/octet-stream' },
        body: JSON.stringify({ model: manifest.model, prompt }),
        signal: eitherSignal(signal, timeout),
      });
      bytes = new Uint8Array(await response.arrayBuffer());
    } catch (cause) {
      throwIfAborted(signal, `embedding a prompt at ${url}`);
      const reason = timeout.aborted ? `no answer in ${timeoutMs} ms` : cause instanceof Error ? cause.message : cause;
      throw failed(url, `${reason}; is the endpoint there, and does it allow this page (CORS)?`, cause);
    }
    if (!response.ok) throw refused(url, response.status, bytes);
    if (response.headers.get('x-encoder') !== identity) {
      throw failed(url, `its text encoder is not that of this version of ${manifest.model}; publish the same to both.`);
    }
    const embedding = bytes.length > MAX_BYTES ? undefined : await unpackEmbedding(bytes);
    if (embedding !== undefined) return embedding;
    throw new EdgeDitError('digest-mismatch', `${url}: the embedding (${bytes.length} bytes) is damaged; ask again.`);
  };

  return {
    encode: async (prompts, signal) =>
      stackEmbeddings(await Promise.all(prompts.map((prompt) => embed(prompt, signal)))),
  };
}

/**
 * The first that answers. A prompt that is refused is refused: only those that cannot be asked, or fail, are passed over.
 * @param onPassedOver is told why the next one is asked
 */
export function firstTextEncoder(
  encoders: readonly TextEncoder[],
  onPassedOver?: (reason: unknown) => void,
): TextEncoder {
  return {
    async encode(prompts, signal) {
      for (const [i, encoder] of encoders.entries()) {
        try {
          return await encoder.encode(prompts, signal);
        } catch (error) {
          const final = isEdgeDitError(error, 'aborted') || isEdgeDitError(error, 'invalid-request');
          if (final || i === encoders.length - 1) throw error;
          onPassedOver?.(error);
        }
      }
      throw new EdgeDitError('invalid-argument', 'no text encoder was given.');
    },
  };
}

const failed = (url: string, reason: string, cause?: unknown) =>
  new EdgeDitError('store-failed', `embedding a prompt at ${url}: ${reason}`, { cause });

/** The endpoint's own words, where it has some. */
function refused(url: string, status: number, body: Uint8Array): EdgeDitError {
  let detail = '';
  try {
    const problem = JSON.parse(new TextDecoder().decode(body.subarray(0, 4096))) as { detail?: unknown };
    if (typeof problem.detail === 'string') detail = `: ${problem.detail.slice(0, 500)}`;
  } catch {
    // Not of our endpoint.
  }
  const code = status === 400 || status === 422 ? 'invalid-request' : 'store-failed';
  return new EdgeDitError(code, `embedding a prompt at ${url}: ${status}${detail}`);
}
