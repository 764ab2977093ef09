/**
 * Embeds prompts by an ONNX text encoder. In: prompts. Out: `last_hidden_state` and mask, a row per prompt. Prompts
 * are run one at a time, so an embedding never depends on its neighbours, and remembered within a number of bytes.
 * Tokenizer, engine and model are loaded when first needed: an isolate whose prompts are all remembered has no engine.
 */
import { EdgeDitError } from '../errors.ts';
import type { Meter } from '../meter.ts';
import type { OnnxRuntime, OnnxSession, OnnxTensor } from '../onnx/onnx-runtime.ts';
import { stackEmbeddings, type TextEmbedding, type TextEncoder } from './conditioning.ts';
import type { TokenizedPrompt, Tokenizer } from './tokenizer.ts';

/** 80 prompts of 24 tokens by 256 channels, in 2 % of what a Worker may hold. */
export const DEFAULT_CACHE_BYTES = 2 * 2 ** 20;

const OUTPUT = 'last_hidden_state';
const INPUTS = ['input_ids', 'attention_mask'];

export interface OnnxTextEncoderOptions {
  readonly runtime: OnnxRuntime;
  /** The ONNX file. Its bytes are dropped when the session exists. */
  readonly loadModel: () => Promise<Uint8Array>;
  readonly loadTokenizer: () => Promise<Tokenizer>;
  /** Bound of the remembered embeddings, taken from the meter when the first one is remembered. */
  readonly cacheBytes?: number;
  readonly meter?: Meter;
}

interface Row {
  readonly data: Float32Array;
  readonly mask: Int32Array;
  readonly channels: number;
}

export class OnnxTextEncoder implements TextEncoder {
  readonly #options: OnnxTextEncoderOptions;
  readonly #cacheBytes: number;
  /** By token ids, oldest use first. */
  readonly #rows = new Map<string, Row>();
  #rowBytes = 0;
  #giveBackCache: (() => void) | undefined;
  #tokenizer: Promise<Tokenizer> | undefined;
  #session: Promise<OnnxSession> | undefined;
  /** Runs queue up: the engine has one thread, and the second of two equal prompts finds the first one's row. */
  #queue: Promise<unknown> = Promise.resolve();

  constructor(options: OnnxTextEncoderOptions) {
    this.#options = options;
    this.#cacheBytes = options.cacheBytes ?? DEFAULT_CACHE_BYTES;
  }

  /** @throws `invalid-request` for a prompt; `onnx-failed`, `memory-exceeded`, `non-finite` for the model; `aborted` */
  async encode(prompts: readonly string[], signal?: AbortSignal): Promise<TextEmbedding> {
    if (prompts.length === 0) throw new EdgeDitError('invalid-argument', 'no prompts to encode; give at least one.');
    const tokenizer = await retried(
      () => (this.#tokenizer ??= this.#options.loadTokenizer()),
      () => (this.#tokenizer = undefined),
    );
    const tokenized = prompts.map((prompt) => tokenizer.encode(prompt));
    const rows: Row[] = [];
    for (const prompt of tokenized) {
      const row = this.#queue.then(() => {
        if (signal?.aborted) {
          throw new EdgeDitError('aborted', 'encoding the prompts was cancelled.', { cause: signal.reason });
        }
        return this.#row(prompt);
      });
      this.#queue = row.catch(() => undefined);
      rows.push(await row);
    }
    const tokens = tokenizer.maxTokens;
    return stackEmbeddings(rows.map((row) => ({ count: 1, tokens, ...row })));
  }

  /** Forgets the embeddings and frees the model inside the engine, not the engine's memory. May be used again. */
  async release(): Promise<void> {
    this.#rows.clear();
    this.#rowBytes = 0;
    this.#giveBackCache?.();
    this.#giveBackCache = undefined;
    const session = this.#session;
    this.#session = undefined;
    await (await session)?.release();
  }

  async #row(prompt: TokenizedPrompt): Promise<Row> {
    const key = `${prompt.ids}|${prompt.mask}`;
    const known = this.#rows.get(key);
    if (known !== undefined) {
      this.#rows.delete(key);
      this.#rows.set(key, known);
      return known;
    }
    const row = await this.#run(prompt);
    this.#remember(key, row);
    return row;
  }

  async #run({ ids, mask }: TokenizedPrompt): Promise<Row> {
    const session = await retried(
      () => (this.#session ??= this.#load()),
      () => (this.#session = undefined),
    );
    const int64 = (values: Int32Array): OnnxTensor => ({
      type: 'int64',
      dims: [1, values.length],
      data: BigInt64Array.from(values, BigInt),
    });
    const result = (await session.run({ input_ids: int64(ids), attention_mask: int64(mask) }))[OUTPUT];
    const [count, tokens, channels] = result.dims;
    if (result.type !== 'float32' || result.dims.length !== 3 || count !== 1 || tokens !== ids.length) {
      throw new EdgeDitError(
        'onnx-failed',
        `text encoder: ${OUTPUT} is ${result.type} [${result.dims}], expected float32 [1, ${ids.length}, channels].`,
      );
    }
    if (!result.data.every(Number.isFinite)) {
      throw new EdgeDitError('non-finite', `text encoder: ${OUTPUT} holds NaN or infinity.`);
    }
    return { data: result.data, mask, channels };
  }

  async #load(): Promise<OnnxSession> {
    const session = await this.#options.runtime.load(await this.#options.loadModel(), 'the text encoder');
    const strange = session.inputs.filter((input) => !INPUTS.includes(input));
    if (strange.length > 0 || session.inputs.length !== INPUTS.length || !session.outputs.includes(OUTPUT)) {
      await session.release();
      throw new EdgeDitError(
        'onnx-failed',
        `text encoder: takes ${session.inputs.join(', ')} and gives ${session.outputs.join(', ')}; expected ${INPUTS.join(', ')} and ${OUTPUT}.`,
      );
    }
    return session;
  }

  #remember(key: string, row: Row): void {
    const bytes = bytesOf(key, row);
    if (bytes > this.#cacheBytes) return;
    this.#giveBackCache ??= this.#options.meter?.take('text embedding cache', this.#cacheBytes);
    this.#rows.set(key, row);
    this.#rowBytes += bytes;
    for (const [oldKey, old] of this.#rows) {
      if (this.#rowBytes <= this.#cacheBytes) break;
      this.#rows.delete(oldKey);
      this.#rowBytes -= bytesOf(oldKey, old);
    }
  }
}

const bytesOf = (key: string, { data, mask }: Row) => 2 * key.length + data.byteLength + mask.byteLength;

/** Awaits what `start` gives; forgets it when it failed, so that the next call tries again. */
async function retried<T>(start: () => Promise<T>, forget: () => void): Promise<T> {
  try {
    return await start();
  } catch (error) {
    forget();
    throw error;
  }
}
