/** What a text encoder gives a transformer: row-major [count, tokens, channels]. */
export interface TextEmbedding {
  readonly count: number;
  readonly tokens: number;
  readonly channels: number;
  readonly data: Float32Array;
  /** [count, tokens]; 1 keeps a token, 0 hides it. */
  readonly mask: Int32Array;
}

export interface TextEncoder {
  /** One embedding with a row per prompt. Equal prompts give equal bytes. */
  encode(prompts: readonly string[], signal?: AbortSignal): Promise<TextEmbedding>;
}
