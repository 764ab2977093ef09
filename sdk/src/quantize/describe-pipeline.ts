/**
 * What surrounds the transformer of a checkpoint: sampler, text encoder, VAE and the texts of its card. All of it is
 * tried here, before a long computation and before anything is sent: a pipeline that is described can run.
 */
import { readFile } from 'node:fs/promises';
import { EdgeDitError, isEdgeDitError } from '@edge-dit/runtime/errors';
import { describeFile } from '@edge-dit/runtime/format/file-parts';
import type { FileRecord, Manifest } from '@edge-dit/runtime/format/manifest';
import type { Geometry } from '@edge-dit/runtime/models/architecture';
import { createNodeOrtRuntime } from '@edge-dit/runtime/onnx/ort-node';
import { vaeFactors } from '@edge-dit/runtime/onnx/vae-decoder';
import { PROMPTING, type Prompting, promptingOf } from '@edge-dit/runtime/prompting';
import { createSampler } from '@edge-dit/runtime/samplers/index';
import { OnnxTextEncoder } from '@edge-dit/runtime/text/onnx-text-encoder';
import { type Checkpoint, type CheckpointFiles, FILE_PLACES } from '../checkpoint/checkpoint.ts';
import { readJsonObject } from '../checkpoint/json-file.ts';
import { readTokenizer } from '../checkpoint/tokenizer-file.ts';

export interface AuxiliaryFile {
  readonly record: FileRecord;
  readonly bytes: Uint8Array;
}

/** Of model_card.json. */
interface Card {
  license?: string;
  attribution?: string;
  [PROMPTING]?: Prompting;
}

export interface DescribedPipeline extends Pick<Manifest, 'sampler' | 'pipeline'>, Readonly<Card> {
  readonly files: readonly AuxiliaryFile[];
}

export interface DescribeOptions {
  /** Of a request that does not say: the sampler must be able to make so many. */
  readonly steps: number;
  /** Instead of the config's `class_names`. */
  readonly classNames?: readonly string[];
}

const FILE_NAMES = {
  tokenizer: 'tokenizer.json',
  textEncoder: 'text-encoder.onnx',
  vaeDecoder: 'vae-decoder.onnx',
} as const;

/** PixArt-Sigma's; only says how long precomputed embeddings may be. */
const DEFAULT_TOKENS = 300;

/** Samples of so many channels are pictures themselves; of any other number, latents. */
const PICTURE_CHANNELS: readonly number[] = [1, 3];

/**
 * @throws `checkpoint-not-found` for a part that is missing, saying where it was looked for; `checkpoint-mismatch` for
 * parts that do not go together; `checkpoint-malformed` naming a file that is not what it should be;
 * `config-unsupported` and `unknown-name` for what edge-dit does not implement
 */
export async function describePipeline(
  checkpoint: Checkpoint,
  geometry: Geometry,
  { steps, classNames }: DescribeOptions,
): Promise<DescribedPipeline> {
  const sampler = describeSampler(checkpoint, steps);
  const text =
    geometry.conditioning.kind === 'text' ? await describeText(checkpoint, geometry.conditioning) : undefined;
  const vae = await describeVae(checkpoint, geometry.inChannels);
  return {
    sampler,
    pipeline: {
      ...(vae ? { space: 'latent', vae: vae.description } : { space: 'pixel' }),
      conditioning: text?.description ?? describeClasses(checkpoint, geometry, classNames),
    },
    files: [...(text?.files ?? []), ...(vae ? [vae.file] : [])],
    ...(await readCard(checkpoint)),
  };
}

function describeSampler({ schedulerConfig, path }: Checkpoint, steps: number): Manifest['sampler'] {
  if (typeof schedulerConfig?._class_name !== 'string') {
    throw new EdgeDitError(
      'checkpoint-not-found',
      `checkpoint "${path}" has no scheduler config with a _class_name: add scheduler/scheduler_config.json or scheduler_config.json.`,
    );
  }
  said(`checkpoint "${path}"`, () => createSampler(schedulerConfig, steps));
  return { ...schedulerConfig, _class_name: schedulerConfig._class_name };
}

type TextDescription = Extract<Manifest['pipeline']['conditioning'], { type: 'text' }>;

async function describeText(
  { files, path }: Checkpoint,
  { channels }: { readonly channels: number },
): Promise<{ description: TextDescription; files: AuxiliaryFile[] }> {
  const { tokenizer, textEncoder } = files;
  if (!tokenizer && !textEncoder) {
    return { description: { type: 'text', maxTokens: DEFAULT_TOKENS, channels }, files: [] };
  }
  if (!tokenizer || !textEncoder) {
    const [has, lacks] = tokenizer
      ? ['tokenizer', 'textEncoder' as const]
      : ['ONNX text encoder', 'tokenizer' as const];
    throw new EdgeDitError(
      'checkpoint-mismatch',
      `checkpoint "${path}" has a ${has} and no ${lacks === 'tokenizer' ? lacks : 'ONNX text encoder'}; the two go together. Looked for ${placesOf(lacks)}.`,
    );
  }
  const read = await readTokenizer(tokenizer);
  const encoderFile = await auxiliaryFile('textEncoder', textEncoder);
  await tryTextEncoder(textEncoder, encoderFile.bytes, read, channels);
  return {
    description: {
      type: 'text',
      maxTokens: read.maxTokens,
      channels,
      tokenizer: FILE_NAMES.tokenizer,
      textEncoder: FILE_NAMES.textEncoder,
    },
    files: [await auxiliaryFile('tokenizer', tokenizer), encoderFile],
  };
}

/** Encodes the empty prompt, which guidance needs in any case. */
async function tryTextEncoder(
  path: string,
  bytes: Uint8Array,
  tokenizer: Awaited<ReturnType<typeof readTokenizer>>,
  expected: number,
): Promise<void> {
  const encoder = new OnnxTextEncoder({
    runtime: createNodeOrtRuntime(),
    loadModel: async () => bytes,
    loadTokenizer: async () => tokenizer,
  });
  const { channels } = await encoder.encode(['']).catch((cause) => {
    throw malformed(path, cause);
  });
  await encoder.release();
  if (channels !== expected) {
    throw new EdgeDitError(
      'checkpoint-mismatch',
      `${path} gives ${channels} channels, the transformer takes ${expected}.`,
    );
  }
}

function describeClasses(
  { config }: Checkpoint,
  { conditioning }: Geometry,
  classNames: readonly string[] | undefined,
): Manifest['pipeline']['conditioning'] {
  if (conditioning.kind !== 'class') throw new EdgeDitError('internal', 'a model of texts has no classes.');
  const names = classNames ?? namesOf(config.class_names);
  return { type: 'class', count: conditioning.classes, ...(names ? { names: [...names] } : {}) };
}

function namesOf(value: unknown): string[] | undefined {
  return Array.isArray(value) && value.every((name) => typeof name === 'string') ? value : undefined;
}

async function describeVae(
  { files, modelIndex, path }: Checkpoint,
  latentChannels: number,
): Promise<{ description: NonNullable<Manifest['pipeline']['vae']>; file: AuxiliaryFile } | undefined> {
  const { vaeDecoder, vaeConfig } = files;
  if (!vaeDecoder) {
    const named = namedIn(modelIndex, 'vae');
    if (named === undefined && PICTURE_CHANNELS.includes(latentChannels)) return undefined;
    const reason = named === undefined ? `makes samples of ${latentChannels} channels` : `names a vae (${named})`;
    throw new EdgeDitError(
      'checkpoint-not-found',
      `checkpoint "${path}" ${reason} and has no ONNX VAE decoder. Looked for ${placesOf('vaeDecoder')}, with its config in ${placesOf('vaeConfig')}.`,
    );
  }
  if (!vaeConfig) {
    throw new EdgeDitError(
      'checkpoint-not-found',
      `checkpoint "${path}" has a VAE decoder and no config of it. Looked for ${placesOf('vaeConfig')}.`,
    );
  }
  const config = await readJsonObject(vaeConfig);
  const { scaling, shift } = said(vaeConfig, () => vaeFactors(config));
  const { block_out_channels: stages } = config;
  if (!Array.isArray(stages) || stages.length === 0) {
    throw new EdgeDitError(
      'config-unsupported',
      `${vaeConfig}: block_out_channels is ${JSON.stringify(stages)}, expected a list: its length says how many pixels a latent stands for.`,
    );
  }
  const file = await auxiliaryFile('vaeDecoder', vaeDecoder);
  await tryVaeDecoder(vaeDecoder, file.bytes);
  return {
    file,
    description: {
      decoder: FILE_NAMES.vaeDecoder,
      scalingFactor: scaling,
      shiftFactor: shift,
      latentChannels,
      spatialFactor: 2 ** (stages.length - 1),
    },
  };
}

async function tryVaeDecoder(path: string, bytes: Uint8Array): Promise<void> {
  const session = await createNodeOrtRuntime()
    .load(bytes, 'the VAE decoder')
    .catch((cause) => {
      throw malformed(path, cause);
    });
  const { inputs, outputs } = session;
  await session.release();
  if (inputs.length === 1 && outputs.length === 1) return;
  throw new EdgeDitError(
    'checkpoint-malformed',
    `${path}: takes ${inputs.join(', ')} and gives ${outputs.join(', ')}; expected one of each.`,
  );
}

/** model_index.json names a part by library and class, and one that is left out by nulls. */
function namedIn(modelIndex: Checkpoint['modelIndex'], part: string): string | undefined {
  const entry = modelIndex?.[part];
  return Array.isArray(entry) && typeof entry[1] === 'string' ? entry[1] : undefined;
}

async function readCard({ files }: Checkpoint): Promise<Card> {
  if (!files.card) return {};
  const card = await readJsonObject(files.card);
  const found: Card = {};
  for (const field of ['license', 'attribution'] as const) {
    const text = card[field];
    if (text === undefined) continue;
    if (typeof text !== 'string') {
      throw new EdgeDitError('checkpoint-malformed', `${files.card}: ${field} must be a text.`);
    }
    found[field] = text;
  }
  if (card.prompting !== undefined) {
    const prompting = promptingOf(card.prompting);
    if (prompting === undefined) {
      const form = 'an object of styles and examples, lists of at most 32 texts of at most 100 characters';
      throw new EdgeDitError('checkpoint-malformed', `${files.card}: prompting must be ${form}.`);
    }
    found[PROMPTING] = prompting;
  }
  return found;
}

async function auxiliaryFile(role: keyof typeof FILE_NAMES, path: string): Promise<AuxiliaryFile> {
  const bytes = new Uint8Array(await readFile(path));
  return { bytes, record: await describeFile(FILE_NAMES[role], bytes) };
}

const placesOf = (role: keyof CheckpointFiles) => FILE_PLACES[role].join(' or ');

/** What the runtime refuses, with the place that it came from. */
function said<T>(place: string, work: () => T): T {
  try {
    return work();
  } catch (cause) {
    if (!isEdgeDitError(cause)) throw cause;
    throw new EdgeDitError(cause.code, `${place}: ${cause.message}`, { cause });
  }
}

/** For a file that the ONNX engine does not take. */
function malformed(path: string, cause: unknown): unknown {
  if (!isEdgeDitError(cause, 'onnx-failed') && !isEdgeDitError(cause, 'non-finite')) return cause;
  return new EdgeDitError('checkpoint-malformed', `${path}: ${cause.message}`, { cause });
}
