/** A checkpoint and a recipe in, a published model out: tensor by tensor, so that no checkpoint is too large. */
import { readFile } from 'node:fs/promises';
import { EdgeDitError } from '@edge-dit/runtime/errors';
import { describeFile } from '@edge-dit/runtime/format/file-parts';
import type { FileRecord, Manifest, TensorRecord } from '@edge-dit/runtime/format/manifest';
import { type PackTensor, packShards } from '@edge-dit/runtime/format/pack';
import { vaeFactors } from '@edge-dit/runtime/onnx/vae-decoder';
import type { WritableStore } from '@edge-dit/runtime/stores/store';
import { loadTokenizer } from '@edge-dit/runtime/text/tokenizer';
import { type CalibrateOptions, type Calibration, calibrate } from '../calibrate/calibrate.ts';
import { defaultConditions } from '../calibrate/default-conditions.ts';
import { type CanonicalCheckpoint, canonicalCheckpoint } from '../checkpoint/canonical.ts';
import type { Checkpoint } from '../checkpoint/checkpoint.ts';
import { type Published, publish } from '../publish.ts';
import type { Recipe } from '../recipes/recipe.ts';
import { encodeTensors, type LayerRecord } from './encode-tensors.ts';

export interface QuantizeOptions {
  readonly checkpoint: Checkpoint;
  readonly recipe: Recipe;
  /** Name under which the model is published. */
  readonly model: string;
  readonly store: WritableStore;
  readonly defaults?: { readonly steps: number; readonly guidance: number };
  readonly license?: string;
  readonly attribution?: string;
  readonly classNames?: readonly string[];
  /** For recipes that balance channels. Conditions default to the checkpoint's own; without any, nothing is balanced. */
  readonly calibration?: Partial<Pick<CalibrateOptions, 'conditions' | 'steps' | 'guidance' | 'seed'>>;
  readonly signal?: AbortSignal;
  /** While a recipe that needs it calibrates. */
  readonly onCalibrate?: CalibrateOptions['onStep'];
  /** After each linear layer. */
  readonly onLayer?: (layer: LayerRecord, done: number, total: number) => void;
}

export interface QuantizeResult extends Published {
  readonly manifest: Manifest;
}

const DEFAULTS = { steps: 20, guidance: 3 };

/** Quantizes, packs and publishes. Raises what its parts raise; nothing is visible under the name before all is there. */
export async function quantize(options: QuantizeOptions): Promise<QuantizeResult> {
  const { checkpoint, recipe, store, signal, onLayer } = options;
  const canonical = canonicalCheckpoint(checkpoint);
  const total = canonical.architecture.linears.length;
  const layers: LayerRecord[] = [];
  const records: TensorRecord[] = [];
  const shardRecords: { sha256: string; length: number }[] = [];
  const calibration = await calibrationFor(options, canonical);
  const tensors = encodeTensors(canonical, recipe, calibration, (layer) => {
    layers.push(layer);
    onLayer?.(layer, layers.length, total);
  });
  const files = await auxiliaryFiles(checkpoint);
  async function* shards() {
    for await (const { bytes, sha256, length, tensors: packed } of packShards(stoppable(tensors, signal))) {
      records.push(...packed);
      shardRecords.push({ sha256, length });
      yield { sha256, bytes };
    }
  }
  let manifest: Manifest | undefined;
  const published = await publish({
    store,
    signal,
    shards: shards(),
    files: files.map(({ record, bytes }) => ({ name: record.name, bytes })),
    manifest: async () =>
      (manifest = await describe(options, canonical, { records, shardRecords, layers, files, calibration })),
  });
  return { ...published, manifest: manifest! };
}

async function calibrationFor(
  options: QuantizeOptions,
  { architecture }: CanonicalCheckpoint,
): Promise<Calibration | undefined> {
  const { checkpoint, recipe, signal, defaults = DEFAULTS, onCalibrate } = options;
  if (!recipe.balance) return undefined;
  const conditions = options.calibration?.conditions ?? (await defaultConditions(checkpoint, architecture.geometry));
  if (!conditions) return undefined;
  const { guidance } = defaults;
  return calibrate({ checkpoint, guidance, signal, onStep: onCalibrate, ...options.calibration, conditions });
}

async function* stoppable(tensors: AsyncIterable<PackTensor>, signal?: AbortSignal): AsyncGenerator<PackTensor> {
  for await (const tensor of tensors) {
    if (signal?.aborted) throw new EdgeDitError('aborted', 'quantization was cancelled.', { cause: signal.reason });
    yield tensor;
  }
}

interface Packed {
  readonly records: TensorRecord[];
  readonly shardRecords: { sha256: string; length: number }[];
  readonly layers: LayerRecord[];
  readonly files: readonly AuxiliaryFile[];
  readonly calibration: Calibration | undefined;
}

interface AuxiliaryFile {
  readonly role: 'tokenizer' | 'textEncoder' | 'vaeDecoder';
  readonly record: FileRecord;
  readonly bytes: Uint8Array;
}

const FILE_NAMES = {
  tokenizer: 'tokenizer.json',
  textEncoder: 'text-encoder.onnx',
  vaeDecoder: 'vae-decoder.onnx',
} as const;

async function auxiliaryFiles({ files }: Checkpoint): Promise<AuxiliaryFile[]> {
  const roles = (['tokenizer', 'textEncoder', 'vaeDecoder'] as const).filter((role) => files[role] !== undefined);
  return Promise.all(
    roles.map(async (role) => {
      const bytes = new Uint8Array(await readFile(files[role]!));
      return { role, bytes, record: await describeFile(FILE_NAMES[role], bytes) };
    }),
  );
}

async function describe(options: QuantizeOptions, canonical: CanonicalCheckpoint, packed: Packed): Promise<Manifest> {
  const { checkpoint, recipe, model, license, attribution } = options;
  const { schedulerConfig } = checkpoint;
  if (typeof schedulerConfig?._class_name !== 'string') {
    throw new EdgeDitError(
      'checkpoint-not-found',
      `checkpoint "${checkpoint.path}" has no scheduler config: add scheduler/scheduler_config.json or scheduler_config.json.`,
    );
  }
  const floats = [...canonical.tensors.values()].reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0);
  return {
    format: 'edge-dit',
    version: 1,
    model,
    architecture: checkpoint.architecture,
    config: { ...checkpoint.config },
    sampler: { ...schedulerConfig, _class_name: schedulerConfig._class_name },
    defaults: options.defaults ?? DEFAULTS,
    pipeline: await describePipeline(options, canonical, packed.files),
    tensors: packed.records,
    shards: packed.shardRecords,
    files: packed.files.map(({ record }) => record),
    quantization: {
      recipe: recipe.name,
      activations: 'int8, asymmetric, per token, dynamic',
      attention: canonical.architecture.geometry.headWidth % 4 === 0 ? recipe.attention : 'float',
      layers: packed.layers,
      floatBytes16: 2 * floats,
      ...(packed.calibration && recipe.balance
        ? { balance: { ...recipe.balance }, calibration: describeCalibration(packed.calibration) }
        : {}),
    },
    ...(license === undefined ? {} : { license }),
    ...(attribution === undefined ? {} : { attribution }),
  };
}

function describeCalibration({ sha256, conditions, steps, seed }: Calibration) {
  return { sha256, conditions: [...conditions], steps, seed };
}

async function describePipeline(
  { checkpoint, classNames }: QuantizeOptions,
  { architecture }: CanonicalCheckpoint,
  files: readonly AuxiliaryFile[],
): Promise<Manifest['pipeline']> {
  const file = (role: AuxiliaryFile['role']) => files.find((candidate) => candidate.role === role);
  const { conditioning, inChannels } = architecture.geometry;
  const space = { space: 'pixel' as const };
  const decoder = file('vaeDecoder');
  const latent = decoder && (await describeVae(checkpoint, decoder, inChannels));
  const shared = latent ? { space: 'latent' as const, vae: latent } : space;
  if (conditioning.kind === 'class') {
    const names = classNames ?? namesOf(checkpoint.config.class_names);
    return {
      ...shared,
      conditioning: { type: 'class', count: conditioning.classes, ...(names ? { names: [...names] } : {}) },
    };
  }
  const tokenizer = file('tokenizer');
  const maxTokens = tokenizer
    ? loadTokenizer(JSON.parse(new TextDecoder().decode(tokenizer.bytes))).maxTokens
    : DEFAULT_TOKENS;
  return {
    ...shared,
    conditioning: {
      type: 'text',
      maxTokens,
      channels: conditioning.channels,
      ...(tokenizer ? { tokenizer: tokenizer.record.name } : {}),
      ...(file('textEncoder') ? { textEncoder: FILE_NAMES.textEncoder } : {}),
    },
  };
}

/** PixArt-Sigma's; only says how long precomputed embeddings may be. */
const DEFAULT_TOKENS = 300;

async function describeVae(checkpoint: Checkpoint, decoder: AuxiliaryFile, latentChannels: number) {
  const { vaeConfig } = checkpoint.files;
  if (!vaeConfig) {
    throw new EdgeDitError(
      'checkpoint-not-found',
      `checkpoint "${checkpoint.path}" has a VAE decoder but no config.json beside it.`,
    );
  }
  const config = JSON.parse(await readFile(vaeConfig, 'utf8')) as Record<string, unknown>;
  const { scaling, shift } = vaeFactors(config);
  const stages = Array.isArray(config.block_out_channels) ? config.block_out_channels.length : 4;
  return {
    decoder: decoder.record.name,
    scalingFactor: scaling,
    shiftFactor: shift,
    latentChannels,
    spatialFactor: 2 ** (stages - 1),
  };
}

function namesOf(value: unknown): string[] | undefined {
  return Array.isArray(value) && value.every((name) => typeof name === 'string') ? value : undefined;
}
