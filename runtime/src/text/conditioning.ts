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

/** Rows of one encoder, which all have one shape. */
export function stackEmbeddings(rows: readonly TextEmbedding[]): TextEmbedding {
  const { tokens, channels } = rows[0];
  const data = new Float32Array(rows.length * tokens * channels);
  const mask = new Int32Array(rows.length * tokens);
  for (const [i, row] of rows.entries()) {
    data.set(row.data, i * tokens * channels);
    mask.set(row.mask, i * tokens);
  }
  return { count: rows.length, tokens, channels, data, mask };
}
