/**
 * Does a picture show its text? The float network is asked, as a zero-shot classifier ("Your Diffusion Model is Secretly a
 * Zero-Shot Classifier", arXiv 2303.16203): noise is added to the picture, and of a few captions the one under which the
 * network restores it best wins. The figure is the share of pictures whose own caption wins.
 *
 * Why not CLIP: small models of pixels draw what CLIP was never shown, and the network that a quantized model stands for
 * is the best judge of its captions that there is. It judges all models alike, the float one too, by the same noise.
 */
import { readFile } from 'node:fs/promises';
import { EdgeDitError } from '@edge-dit/runtime/errors';
import { createNodeOrtRuntime } from '@edge-dit/runtime/onnx/ort-node';
import { OnnxTextEncoder } from '@edge-dit/runtime/text/onnx-text-encoder';
import type { Checkpoint } from '../checkpoint/checkpoint.ts';
import { readTokenizer } from '../checkpoint/tokenizer-file.ts';
import { shareJobs } from '../threads/share-jobs.ts';
import type { PictureValues } from './picture-values.ts';
import type { AgreementJob, AgreementSetting } from './text-agreement-worker.ts';

/** Of one text. */
type Embedding = AgreementSetting['embeddings'][number];

export interface TextAgreementOptions {
  /** The float network that judges, with its tokenizer and text encoder. */
  readonly checkpoint: Checkpoint;
  readonly pictures: readonly PictureValues[];
  /** The text of each picture. */
  readonly prompts: readonly string[];
  /** Where the other captions come from: the nearest of them are tried. Default: the prompts themselves. */
  readonly captions?: readonly string[];
  /** Captions that each picture is tried with, its own included. Default 4, of which chance finds the own one in 25%. */
  readonly candidates?: number;
  readonly threads?: number;
  readonly signal?: AbortSignal;
  readonly onPicture?: (done: number, total: number) => void;
}

export interface PictureAgreement {
  /** Its own first. */
  readonly captions: readonly string[];
  /** Of each caption: mean square of what is not restored, over levels, noises and values. */
  readonly errors: readonly number[];
  readonly agrees: boolean;
  /** The least of the other errors over its own, in dB; negative where another wins. */
  readonly marginDb: number;
}

export interface TextAgreement {
  /** Of pictures whose own caption wins, 0 to 1. */
  readonly share: number;
  readonly meanMarginDb: number;
  /** In the order of the pictures. */
  readonly pictures: readonly PictureAgreement[];
}

/** Shares of noise in what the network is shown. With less, the picture says all and the caption nothing. */
const LEVELS = [0.5, 0.7, 0.9];
/** Draws of noise at each level; all pictures and captions see the same. */
const DRAWS = 1;

/**
 * @throws `config-unsupported` for a network of latents, of classes or of another process than a rectified flow;
 * `checkpoint-not-found` without a text encoder; `invalid-argument` for too few captions
 */
export async function textAgreement(options: TextAgreementOptions): Promise<TextAgreement> {
  const { checkpoint, pictures, prompts, threads, signal, onPicture } = options;
  const { captions = prompts, candidates = 4 } = options;
  if (pictures.length !== prompts.length || pictures.length === 0) {
    throw new EdgeDitError('invalid-argument', `${pictures.length} pictures with ${prompts.length} prompts.`);
  }
  const texts = [...new Set([...prompts, ...captions])];
  const embeddings = await embeddingsOf(checkpoint, texts, signal);
  const others = [...new Set(captions)].map((caption) => texts.indexOf(caption));
  const tried = prompts.map((prompt) => nearestCaptions(texts.indexOf(prompt), others, embeddings, candidates));
  const setting: AgreementSetting = { checkpoint: checkpoint.path, embeddings, levels: LEVELS, draws: DRAWS };
  const out = new Array<PictureAgreement>(pictures.length);
  let done = 0;
  await shareJobs<AgreementJob, number[]>({
    module: new URL('text-agreement-worker.js', import.meta.url),
    data: setting,
    jobs: pictures.map(({ values, width, height }, i) => ({ values, width, height, candidates: tried[i] })),
    threads,
    signal,
    onResult(errors, index) {
      const marginDb = 10 * Math.log10(Math.min(...errors.slice(1)) / errors[0]);
      out[index] = { captions: tried[index].map((text) => texts[text]), errors, agrees: marginDb > 0, marginDb };
      onPicture?.(++done, pictures.length);
    },
  });
  return { ...summaryOf(out), pictures: out };
}

/** Of some of the pictures that were judged, for example those of one model. */
export function summaryOf(pictures: readonly PictureAgreement[]): Pick<TextAgreement, 'share' | 'meanMarginDb'> {
  const share = pictures.filter(({ agrees }) => agrees).length / pictures.length;
  return { share, meanMarginDb: pictures.reduce((sum, { marginDb }) => sum + marginDb, 0) / pictures.length };
}

/**
 * Indices of a caption and of those to try against it: the nearest to it, so that something has to be told apart, by the
 * cosine of the mean embeddings of their tokens. No two are of one embedding.
 * @throws `invalid-argument` where there are not so many
 */
export function nearestCaptions(own: number, others: readonly number[], all: readonly Embedding[], count: number) {
  const means = all.map(meanToken);
  const distinct = new Map(others.map((index) => [means[index].join(), index]));
  distinct.delete(means[own].join());
  const near = [...distinct.values()].sort((a, b) => cosine(means[own], means[b]) - cosine(means[own], means[a]));
  if (Number.isInteger(count) && count >= 2 && near.length >= count - 1) return [own, ...near.slice(0, count - 1)];
  throw new EdgeDitError(
    'invalid-argument',
    `${count} candidates: a picture has its own caption and ${near.length} others; take 2 to ${near.length + 1}, or give more captions.`,
  );
}

function meanToken({ data, mask, channels }: Embedding): Float32Array {
  const mean = new Float32Array(channels);
  mask.forEach((kept, token) => {
    for (let c = 0; c < channels && kept !== 0; c++) mean[c] += data[token * channels + c];
  });
  return mean;
}

/** How many tokens a mean was of does not matter to it. */
function cosine(a: Float32Array, b: Float32Array): number {
  let [product, first, second] = [0, 0, 0];
  for (let i = 0; i < a.length; i++) {
    product += a[i] * b[i];
    first += a[i] * a[i];
    second += b[i] * b[i];
  }
  return product / Math.sqrt(first * second);
}

async function embeddingsOf(
  { files, path }: Checkpoint,
  texts: readonly string[],
  signal?: AbortSignal,
): Promise<Embedding[]> {
  const { tokenizer, textEncoder } = files;
  if (!tokenizer || !textEncoder) {
    const message = `checkpoint "${path}" has no tokenizer and ONNX text encoder, which text agreement needs.`;
    throw new EdgeDitError('checkpoint-not-found', message);
  }
  const runtime = createNodeOrtRuntime();
  const encoder = new OnnxTextEncoder({
    runtime,
    loadModel: async () => new Uint8Array(await readFile(textEncoder)),
    loadTokenizer: () => readTokenizer(tokenizer),
  });
  try {
    const rows: Embedding[] = [];
    for (const text of texts) rows.push(await encoder.encode([text], signal));
    return rows;
  } finally {
    await encoder.release();
  }
}
