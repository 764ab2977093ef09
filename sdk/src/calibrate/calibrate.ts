/**
 * Runs the float network over its own sampler and records, for every linear layer, the largest magnitude of each input
 * channel over all tokens, steps and conditions. Which layers share an input is observed too: they share a balance.
 */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { Operand } from '@edge-dit/runtime/engines/engine';
import { openWasmEngine } from '@edge-dit/runtime/engines/open-wasm';
import { EdgeDitError } from '@edge-dit/runtime/errors';
import { Meter } from '@edge-dit/runtime/meter';
import type { Conditions, Geometry } from '@edge-dit/runtime/models/architecture';
import { gaussianNoise, noiseStream } from '@edge-dit/runtime/noise';
import { createNodeOrtRuntime } from '@edge-dit/runtime/onnx/ort-node';
import { isGuided, sample } from '@edge-dit/runtime/sample';
import { createSampler } from '@edge-dit/runtime/samplers/index';
import type { TextEmbedding } from '@edge-dit/runtime/text/conditioning';
import { OnnxTextEncoder } from '@edge-dit/runtime/text/onnx-text-encoder';
import { loadTokenizer } from '@edge-dit/runtime/text/tokenizer';
import { compileKernels } from '@edge-dit/wasm-kernels/assemble';
import type { Checkpoint } from '../checkpoint/checkpoint.ts';
import { loadFloatModel } from '../float-model.ts';
import { ObservingEngine } from './observing-engine.ts';

export interface CalibrateOptions {
  readonly checkpoint: Checkpoint;
  /**
   * For models of text. Default: the empty prompt, which every guided request uses too; unit noise instead of an
   * embedding where the checkpoint ships no text encoder.
   */
  readonly prompts?: readonly string[];
  /** For models of classes. Default: the class that stands for none. */
  readonly classes?: readonly number[];
  /** Steps of the sampler for each. Default 8. */
  readonly steps?: number;
  /** Default 1: only the condition itself runs. */
  readonly guidance?: number;
  readonly seed?: number;
  readonly signal?: AbortSignal;
  readonly onStep?: (done: number, total: number) => void;
}

export interface Calibration {
  /** Names of layers that read the same operand, and the largest magnitude of each of its channels. */
  readonly groups: readonly { readonly layers: readonly string[]; readonly channelMax: Float32Array }[];
  /** Over conditions, steps, seed and the statistics. */
  readonly sha256: string;
  readonly conditions: readonly (string | number)[];
  readonly steps: number;
  readonly seed: number;
}

/** A float32 network and its activations on a developer's machine. */
const MEMORY_BYTES = 4 * 2 ** 30 - 2 ** 16;
/** Tokens of a random embedding. */
const RANDOM_TOKENS = 16;

export async function calibrate(options: CalibrateOptions): Promise<Calibration> {
  const { checkpoint, steps = 8, guidance = 1, seed = 0, signal, onStep } = options;
  const { engine } = await openWasmEngine(await compileKernels(), new Meter(MEMORY_BYTES));
  const observing = new ObservingEngine(engine);
  const { architecture, transformer, weights } = await loadFloatModel(checkpoint, observing);
  const { geometry } = architecture;
  const names = new Map(architecture.linears.map(({ name }) => [weights.linear(name), name]));
  const statistics = new Map<string, { channelMax: Float32Array; operand: Operand }>();
  observing.observer = ({ linear, operand, x, channels }) => {
    const name = names.get(linear)!;
    const known = statistics.get(name) ?? { channelMax: new Float32Array(channels), operand };
    statistics.set(name, known);
    raiseMaxima(known.channelMax, x);
  };

  const conditions = conditionsOf(options, geometry);
  const embed = await embedder(checkpoint, geometry);
  for (const [i, condition] of conditions.entries()) {
    const size = { frames: 1, height: geometry.sampleSize, width: geometry.sampleSize };
    await sample({
      engine: observing,
      transformer,
      geometry,
      sampler: createSampler(schedulerOf(checkpoint), steps),
      conditions: { ...(await embed(condition, isGuided(guidance))), ...size, batch: isGuided(guidance) ? 2 : 1 },
      guidance,
      seed: seed + i,
      signal,
      onStep: (step) => onStep?.(i * steps + step, conditions.length * steps),
    });
  }
  const groups = groupsOf(statistics);
  return { groups, conditions, steps, seed, sha256: digest({ conditions, steps, guidance, seed }, groups) };
}

function raiseMaxima(maxima: Float32Array, x: Float32Array): void {
  const channels = maxima.length;
  for (let row = 0; row < x.length; row += channels) {
    for (let c = 0; c < channels; c++) {
      const magnitude = Math.abs(x[row + c]);
      if (magnitude > maxima[c]) maxima[c] = magnitude;
    }
  }
}

function conditionsOf(
  { prompts, classes }: CalibrateOptions,
  { conditioning }: Geometry,
): readonly (string | number)[] {
  if (conditioning.kind === 'text') return prompts ?? [''];
  return classes ?? [conditioning.classes];
}

type Embed = (
  condition: string | number,
  guided: boolean,
) => Promise<Pick<Conditions, 'text' | 'labels' | 'resolution' | 'aspectRatio'>>;

async function embedder({ files }: Checkpoint, geometry: Geometry): Promise<Embed> {
  const { conditioning, sampleSize } = geometry;
  if (conditioning.kind === 'class') {
    return async (condition, guided) => ({
      labels: guided ? [conditioning.classes, Number(condition)] : [Number(condition)],
    });
  }
  const withSizes = (text: TextEmbedding) => {
    if (!conditioning.microConditions) return { text };
    const size = new Float32Array(2 * text.count).fill(sampleSize);
    return { text, resolution: size, aspectRatio: new Float32Array(text.count).fill(1) };
  };
  const { tokenizer, textEncoder } = files;
  if (!tokenizer || !textEncoder) {
    return async (_, guided) => withSizes(randomEmbedding(guided ? 2 : 1, conditioning.channels));
  }
  const encoder = new OnnxTextEncoder({
    runtime: createNodeOrtRuntime(),
    loadModel: async () => new Uint8Array(await readFile(textEncoder)),
    loadTokenizer: async () => loadTokenizer(JSON.parse(await readFile(tokenizer, 'utf8'))),
  });
  return async (condition, guided) =>
    withSizes(await encoder.encode(guided ? ['', String(condition)] : [String(condition)]));
}

/** Stands in for text where a checkpoint ships no encoder: unit noise is what a final layer norm makes of most texts. */
function randomEmbedding(count: number, channels: number): TextEmbedding {
  const data = gaussianNoise(0, noiseStream(0, 0), count * RANDOM_TOKENS * channels);
  return { count, tokens: RANDOM_TOKENS, channels, data, mask: new Int32Array(count * RANDOM_TOKENS).fill(1) };
}

function schedulerOf({ schedulerConfig, path }: Checkpoint): Readonly<Record<string, unknown>> {
  if (schedulerConfig) return schedulerConfig;
  throw new EdgeDitError(
    'checkpoint-not-found',
    `checkpoint "${path}" has no scheduler config, which calibration needs.`,
  );
}

function groupsOf(
  statistics: ReadonlyMap<string, { channelMax: Float32Array; operand: Operand }>,
): Calibration['groups'] {
  const byOperand = new Map<Operand, { layers: string[]; channelMax: Float32Array }>();
  for (const [name, { operand, channelMax }] of statistics) {
    const group = byOperand.get(operand) ?? { layers: [], channelMax };
    group.layers.push(name);
    byOperand.set(operand, group);
  }
  return [...byOperand.values()];
}

function digest(settings: object, groups: Calibration['groups']): string {
  const hash = createHash('sha256').update(JSON.stringify(settings));
  for (const { layers, channelMax } of groups) hash.update(layers.join()).update(new Uint8Array(channelMax.buffer));
  return hash.digest('hex');
}
