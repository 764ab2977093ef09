/**
 * Opens a checkpoint folder. In: a path. Out: the architecture's name and config, the sampler's config, the tensors
 * (shapes at once, values one at a time) and the paths of the auxiliary files. Nothing is executed: weights are
 * safetensors, pickles are refused.
 */
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { EdgeDitError } from '@edge-dit/runtime/errors';
import { readJsonObject, readJsonObjectIfPresent } from './json-file.ts';
import { type CheckpointTensor, openTensorFiles } from './tensor-files.ts';

export interface CheckpointFiles {
  /** tokenizer.json. */
  readonly tokenizer?: string;
  /** ONNX text encoder. */
  readonly textEncoder?: string;
  /** ONNX decoder from latents to pictures. */
  readonly vaeDecoder?: string;
  /** The VAE's config.json, which has the scaling and shift factors. */
  readonly vaeConfig?: string;
  /** Prompts to calibrate on, one a line. */
  readonly calibrationPrompts?: string;
  /** JSON with the texts `license` and `attribution` of the weights, and `prompting`, how the model likes to be asked. */
  readonly card?: string;
}

export interface Checkpoint {
  readonly path: string;
  /** `_class_name` of diffusers, or `architecture`. */
  readonly architecture: string;
  readonly config: Readonly<Record<string, unknown>>;
  readonly schedulerConfig?: Readonly<Record<string, unknown>>;
  readonly modelIndex?: Readonly<Record<string, unknown>>;
  readonly files: CheckpointFiles;
  readonly tensors: ReadonlyMap<string, CheckpointTensor>;
  /**
   * A tensor's values in row-major order; reads that tensor's bytes only.
   * @throws `checkpoint-mismatch` when the checkpoint has no such tensor
   */
  read(name: string): Promise<Float32Array>;
  /** Closes the files; reading afterwards fails. */
  close(): Promise<void>;
}

/** Where each auxiliary file may lie in a pipeline's folder; the first that exists counts. */
export const FILE_PLACES: Readonly<Record<keyof CheckpointFiles, readonly string[]>> = {
  tokenizer: ['tokenizer/tokenizer.json', 'tokenizer.json'],
  textEncoder: ['text_encoder/model.onnx', 'text_encoder.onnx'],
  vaeDecoder: ['vae_decoder/model.onnx', 'vae/decoder.onnx', 'vae_decoder.onnx'],
  vaeConfig: ['vae_decoder/config.json', 'vae/config.json'],
  calibrationPrompts: ['calibration_prompts.txt'],
  card: ['model_card.json'],
};

/**
 * Opens one of these folders:
 * - a diffusers pipeline: `model_index.json`, `transformer/`, `scheduler/` and the like (only `transformer/` must be there);
 * - a diffusers transformer: `config.json`, `diffusion_pytorch_model.safetensors` or its index with parts;
 * - a folder in the manner of facebookresearch/DiT: `config.json`, `model.safetensors` or its index, `scheduler_config.json`.
 * @throws `checkpoint-not-found` saying what was looked for; `checkpoint-malformed` naming file, tensor and field
 */
export async function openCheckpoint(path: string): Promise<Checkpoint> {
  const kind = await kindOf(path);
  if (kind !== 'folder') {
    const fault = kind === 'file' ? 'is a file' : 'does not exist';
    throw new EdgeDitError(
      'checkpoint-not-found',
      `checkpoint "${path}" ${fault}; expected a folder with model_index.json and transformer/, or with config.json and *.safetensors.`,
    );
  }
  const modelIndex = await readJsonObjectIfPresent(join(path, 'model_index.json'));
  const inner = join(path, 'transformer');
  const weights = modelIndex !== undefined || (await kindOf(inner)) === 'folder' ? inner : path;
  const configPath = join(weights, 'config.json');
  if ((await kindOf(configPath)) !== 'file') {
    throw new EdgeDitError(
      'checkpoint-not-found',
      `checkpoint "${path}" has no ${weights === path ? 'config.json, model_index.json or transformer/config.json' : 'transformer/config.json'}; expected the folder of a diffusers pipeline, of a diffusers transformer or of a DiT.`,
    );
  }
  const config = await readJsonObject(configPath);
  const architecture = config._class_name ?? config.architecture;
  if (typeof architecture !== 'string') {
    throw new EdgeDitError(
      'checkpoint-malformed',
      `${configPath}: field _class_name (or architecture) must name the architecture, got ${JSON.stringify(architecture)}.`,
    );
  }
  const schedulerConfig =
    (await readJsonObjectIfPresent(join(path, 'scheduler', 'scheduler_config.json'))) ??
    (await readJsonObjectIfPresent(join(path, 'scheduler_config.json')));
  const files = await findFiles(path);
  const tensorFiles = await openTensorFiles(weights);
  return { path, architecture, config, schedulerConfig, modelIndex, files, ...tensorFiles };
}

async function findFiles(path: string): Promise<CheckpointFiles> {
  const found: { -readonly [K in keyof CheckpointFiles]: string } = {};
  for (const [name, places] of Object.entries(FILE_PLACES) as [keyof CheckpointFiles, readonly string[]][]) {
    for (const place of places) {
      const candidate = join(path, place);
      if (found[name] === undefined && (await kindOf(candidate)) === 'file') found[name] = candidate;
    }
  }
  return found;
}

async function kindOf(path: string): Promise<'file' | 'folder' | undefined> {
  try {
    return (await stat(path)).isDirectory() ? 'folder' : 'file';
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw new EdgeDitError('checkpoint-not-found', `checkpoint "${path}" cannot be read (${code}).`, { cause: error });
  }
}
