/**
 * Precomputed text embeddings from a safetensors file: `prompt` and `negative`, [tokens, channels] or
 * [1, tokens, channels], and their masks `prompt_mask` and `negative_mask`, [tokens] or [1, tokens], 1 for a token that
 * counts. Without a mask all tokens count.
 */
import { EdgeDitError } from '@edge-dit/runtime/errors';
import { parseSafetensors, type SafetensorsTensor, toFloat32, toInt32 } from '@edge-dit/runtime/safetensors';
import type { TextEmbedding } from '@edge-dit/runtime/text/conditioning';

export interface EmbeddingPair {
  readonly prompt: TextEmbedding;
  readonly negative: TextEmbedding;
}

/**
 * @param file name for messages
 * @throws EdgeDitError `checkpoint-malformed` for bytes that are not safetensors, `invalid-argument` for other tensors
 */
export function readEmbeddingFile(bytes: Uint8Array, file: string): EmbeddingPair {
  const { tensors } = parseSafetensors(bytes, file);
  const [prompt, negative] = (['prompt', 'negative'] as const).map((name) => embeddingOf(name, tensors, file));
  if (prompt.tokens !== negative.tokens || prompt.channels !== negative.channels) {
    throw new EdgeDitError(
      'invalid-argument',
      `${file}: prompt is [${prompt.tokens}, ${prompt.channels}], negative is [${negative.tokens}, ${negative.channels}]; make them alike, padding the shorter one under its mask.`,
    );
  }
  return { prompt, negative };
}

function embeddingOf(name: string, tensors: ReadonlyMap<string, SafetensorsTensor>, file: string): TextEmbedding {
  const refuse = (message: string) => new EdgeDitError('invalid-argument', `${file}: ${message}`);
  const tensor = tensors.get(name);
  if (tensor === undefined) {
    throw refuse(`has no tensor "${name}"; expected prompt, prompt_mask, negative and negative_mask.`);
  }
  const shape = tensor.shape.length === 3 && tensor.shape[0] === 1 ? tensor.shape.slice(1) : tensor.shape;
  if (shape.length !== 2) throw refuse(`${name} has shape [${tensor.shape}], expected [tokens, channels].`);
  const [tokens, channels] = shape;
  const mask = tensors.get(`${name}_mask`);
  const given = mask && toInt32(mask);
  if (given && (given.length !== tokens || given.some((value) => value !== 0 && value !== 1))) {
    throw refuse(`${name}_mask has shape [${mask?.shape}], expected ${tokens} values that are 0 or 1.`);
  }
  return { count: 1, tokens, channels, data: toFloat32(tensor), mask: given ?? new Int32Array(tokens).fill(1) };
}
