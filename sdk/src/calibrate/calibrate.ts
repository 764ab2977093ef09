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
import { createNodeOrtRuntime } from '@edge-dit/runtime/onnx/ort-node';
import { isGuided, sample } from '@edge-dit/runtime/sample';
import { createSampler } from '@edge-dit/runtime/samplers/index';
import type { TextEmbedding } from '@edge-dit/runtime/text/conditioning';
import { OnnxTextEncoder } from '@edge-dit/runtime/text/onnx-text-encoder';
import { compileKernels } from '@edge-dit/wasm-kernels/assemble';
import type { Checkpoint } from '../checkpoint/checkpoint.ts';
import { readTokenizer } from '../checkpoint/tokenizer-file.ts';
import { loadFloatModel } from '../float-model.ts';
import { ObservingEngine } from './observing-engine.ts';

export interface CalibrateOptions {
  readonly checkpoint: Checkpoint;
  /** Prompts for models of text, classes for models of classes. At least one. */
  readonly conditions: readonly (string | number)[];
  /** Steps of the sampler for each. Default 10. */
  readonly steps?: number;
  /** As requests will have it: both halves of a guided request are looked at. Default 3. */
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

export async function calibrate(options: CalibrateOptions): Promise<Calibration> {
  const { checkpoint, conditions, steps = 10, guidance = 3, seed = 0, signal, onStep } = options;
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

type Embed = (
  condition: string | number,
  guided: boolean,
) => Promise<Pick<Conditions, 'text' | 'labels' | 'resolution' | 'aspectRatio'>>;

async function embedder({ files, path }: Checkpoint, geometry: Geometry): Promise<Embed> {
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
    throw new EdgeDitError(
      'checkpoint-not-found',
      `checkpoint "${path}" has no tokenizer and ONNX text encoder, which calibration on prompts needs; quantize without prompts.`,
    );
  }
  const encoder = new OnnxTextEncoder({
    runtime: createNodeOrtRuntime(),
    loadModel: async () => new Uint8Array(await readFile(textEncoder)),
    loadTokenizer: () => readTokenizer(tokenizer),
  });
  return async (condition, guided) =>
    withSizes(await encoder.encode(guided ? ['', String(condition)] : [String(condition)]));
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
