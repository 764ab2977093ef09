/**
 * Turns a prompt into the token ids that a text encoder takes. In: the JSON of a `tokenizer.json` and a string of a
 * user. Out: ids and mask of one fixed length, by the file's own truncation and padding. A user's text is never read
 * as special tokens: "<eos>" in a prompt is five characters.
 */
import { Tokenizer as Encoder } from '@huggingface/tokenizers';
import * as z from 'zod/mini';
import { EdgeDitError } from '../errors.ts';
import { problemsOf, zodMessages } from '../zod-messages.ts';

/** Longest prompt in UTF-16 units; captions that models were trained on are far shorter, and tokenizing costs time. */
export const MAX_PROMPT_LENGTH = 4096;
/** Longest sequence a published text encoder of a diffusion pipeline takes is 512 (T5 in Flux and SD3). */
const MAX_TOKENS = 4096;

export interface TokenizedPrompt {
  /** [maxTokens]. */
  readonly ids: Int32Array;
  /** [maxTokens]; 1 keeps a token, 0 marks padding. */
  readonly mask: Int32Array;
}

export interface Tokenizer {
  /** Length of every encoded prompt. */
  readonly maxTokens: number;
  /**
   * @throws `invalid-request` for a prompt beyond `MAX_PROMPT_LENGTH`, or with text that only special tokens could say
   */
  encode(text: string): TokenizedPrompt;
}

const direction = z.literal(['Left', 'Right']);
const tokenId = z.int().check(z.minimum(0), z.maximum(0x7fffffff));
const tokenCount = z.int().check(z.minimum(1), z.maximum(MAX_TOKENS));
const addedToken = z.object({ id: tokenId, content: z.string(), special: z.boolean() });
const schema = z.object({
  added_tokens: z.array(addedToken).check(z.maxLength(10_000)),
  truncation: z.object({ direction: z._default(direction, 'Right'), max_length: tokenCount }),
  padding: z.object({
    strategy: z.union([z.literal('BatchLongest'), z.object({ Fixed: tokenCount })]),
    direction,
    pad_to_multiple_of: z.literal(null),
    pad_id: tokenId,
  }),
});

/**
 * @param json a parsed tokenizer.json with truncation and padding
 * @throws `config-unsupported` naming the field
 */
export function loadTokenizer(json: unknown): Tokenizer {
  const parsed = schema.safeParse(json, zodMessages);
  if (!parsed.success) throw unsupported(problemsOf(parsed.error));
  const { truncation, padding, added_tokens: added } = parsed.data;
  const maxTokens = truncation.max_length;
  if (padding.strategy !== 'BatchLongest' && padding.strategy.Fixed !== maxTokens) {
    throw unsupported(`padding to ${padding.strategy.Fixed} differs from truncation to ${maxTokens}`);
  }
  const special = new Map(added.filter((token) => token.special).map(({ content, id }) => [content, id]));
  const encoder = createEncoder(json as TokenizerJson);
  const { prefix, suffix } = frameOf(encoder, special);
  const room = maxTokens - prefix.length - suffix.length;
  if (room < 1) throw unsupported(`truncation to ${maxTokens} leaves no room for text`);
  const unknown = encoder.model?.unk_token_id;
  const forbidden = new Set([...special.values()].filter((id) => id !== unknown));

  const encode = (text: string): TokenizedPrompt => {
    if (text.length > MAX_PROMPT_LENGTH) {
      throw new EdgeDitError(
        'invalid-request',
        `the prompt has ${text.length} characters, at most ${MAX_PROMPT_LENGTH} are taken; shorten it.`,
      );
    }
    const body: readonly number[] = encoder.encode(text, { add_special_tokens: false }).ids;
    clearCache(encoder);
    const strange = body.find((id) => id === undefined || forbidden.has(id));
    if (strange !== undefined || body.includes(undefined as never)) {
      throw new EdgeDitError('invalid-request', 'the prompt has text that the tokenizer cannot express; reword it.');
    }
    const kept = truncation.direction === 'Right' ? body.slice(0, room) : body.slice(Math.max(0, body.length - room));
    const sequence = [...prefix, ...kept, ...suffix];
    const start = padding.direction === 'Right' ? 0 : maxTokens - sequence.length;
    const ids = new Int32Array(maxTokens).fill(padding.pad_id);
    ids.set(sequence, start);
    return { ids, mask: new Int32Array(maxTokens).fill(1, start, start + sequence.length) };
  };
  return { maxTokens, encode };
}

interface TokenizerJson {
  readonly added_tokens: readonly { readonly special: boolean }[];
}

/** The library's tokenizer without the special tokens, so that it does not look for them in a user's text. */
function createEncoder(json: TokenizerJson): Encoder {
  try {
    return new Encoder({ ...json, added_tokens: json.added_tokens.filter((token) => !token.special) }, {});
  } catch (cause) {
    throw unsupported((cause as Error).message, cause);
  }
}

/** The ids that the post-processor puts before and behind the text. */
function frameOf(encoder: Encoder, special: ReadonlyMap<string, number>): { prefix: number[]; suffix: number[] } {
  const text = 'the text';
  const { tokens } = encoder.post_processor?.([text], null, true) ?? { tokens: [text] };
  const at = tokens.indexOf(text);
  if (at < 0 || tokens.lastIndexOf(text) !== at) throw unsupported('its post-processor does not keep the text once');
  const idOf = (token: string): number => {
    const id = special.get(token) ?? encoder.token_to_id(token);
    if (id === undefined) throw unsupported(`its post-processor adds "${token}", which has no id`);
    return id;
  };
  return { prefix: tokens.slice(0, at).map(idOf), suffix: tokens.slice(at + 1).map(idOf) };
}

/** The library remembers 10,000 words of up to 255 characters; strangers' prompts must not fill an isolate. */
function clearCache({ model }: Encoder): void {
  if (model !== null && 'clear_cache' in model && typeof model.clear_cache === 'function') model.clear_cache();
}

function unsupported(fault: string, cause?: unknown): EdgeDitError {
  return new EdgeDitError('config-unsupported', `tokenizer.json is not usable: ${fault}.`, { cause });
}
