/**
 * A published model, ready to generate. Opening reads the manifest only. The first request encodes its prompt, then
 * loads the transformer: the text encoder's file is gone before the shards come, so the two do not add up in memory.
 */

import type { KernelModules, Variant } from '@edge-dit/wasm-kernels';
import { type OpenEngine, type OpenedEngine, openWasmEngine } from './engines/open-wasm.ts';
import { EdgeDitError, isEdgeDitError } from './errors.ts';
import { fetchFile } from './fetch-model.ts';
import type { FileRecord, Manifest } from './format/manifest.ts';
import { loadManifest } from './load-manifest.ts';
import { Meter } from './meter.ts';
import type { Conditions, Geometry } from './models/architecture.ts';
import { architectureByName } from './models/index.ts';
import { type LoadedModel, loadModel } from './models/load-model.ts';
import type { OnnxRuntime } from './onnx/onnx-runtime.ts';
import { OnnxVaeDecoder } from './onnx/vae-decoder.ts';
import { type Picture, pictureOf } from './picture.ts';
import { isGuided, sample } from './sample.ts';
import { createSampler } from './samplers/index.ts';
import type { Store } from './stores/store.ts';
import type { TextEmbedding, TextEncoder } from './text/conditioning.ts';
import { OnnxTextEncoder } from './text/onnx-text-encoder.ts';
import { loadTokenizer } from './text/tokenizer.ts';
import type { TrustPolicy } from './trust.ts';

export interface PipelineOptions {
  readonly store: Store;
  /** Name of the model in the store. */
  readonly model: string;
  /** Whose signatures of manifests are accepted. Without it none is looked at. */
  readonly trust?: TrustPolicy;
  readonly kernels: KernelModules;
  /** Only this variant of the kernels; the fastest that runs here without it. */
  readonly variant?: Variant;
  /** Instead of the engine of one thread: `threadedEngine`, where the host has threads. */
  readonly openEngine?: OpenEngine;
  readonly meter?: Meter;
  /** For models with a text encoder or a VAE; made when the first of them is needed. */
  readonly onnx?: (meter: Meter) => OnnxRuntime;
  /** Instead of the model's own encoder. */
  readonly textEncoder?: TextEncoder;
  /** Wraps the model's own encoder, for a cache of embeddings that outlives the isolate. */
  readonly wrapEncoder?: (encoder: TextEncoder, manifest: Manifest) => TextEncoder;
  readonly signal?: AbortSignal;
}

export interface GenerateRequest {
  readonly prompt?: string;
  readonly negativePrompt?: string;
  /** Precomputed embeddings instead of prompts: one row, of the prompt and of the negative prompt. */
  readonly embedding?: { readonly prompt: TextEmbedding; readonly negative: TextEmbedding };
  /** Index or name of a class. */
  readonly class?: number | string;
  /** 0 to 2^53 - 1. */
  readonly seed: number;
  readonly steps?: number;
  readonly guidance?: number;
  /** Pixels; the model's own size without them. */
  readonly width?: number;
  readonly height?: number;
}

export interface GenerateHooks {
  readonly signal?: AbortSignal;
  readonly onStep?: (step: number, steps: number) => void;
  /** Bytes of shards as they arrive, while the model loads. */
  readonly onBytes?: (count: number) => void;
}

export interface Generated extends Picture {
  readonly seed: number;
  readonly steps: number;
  readonly guidance: number;
  /** The sample before it became bytes: [channels, height, width], or the latent's decoded picture. */
  readonly values: Float32Array;
  /** Milliseconds; hosts that stop their clock while computing report 0. */
  readonly timings: Readonly<Record<'encode' | 'load' | 'sample' | 'decode', number>>;
}

export class Pipeline {
  readonly manifest: Manifest;
  /** SHA-256 of the manifest. */
  readonly digest: string;
  readonly meter: Meter;
  readonly #options: PipelineOptions;
  readonly #textEncoder: TextEncoder | undefined;
  readonly #vae: OnnxVaeDecoder | undefined;
  /** The model's own encoder, under whatever wraps it. */
  #onnxEncoder: OnnxTextEncoder | undefined;
  #engine: OpenedEngine | undefined;
  #model: LoadedModel | undefined;
  /** From the config, for the checks of every request: known before the weights are. */
  #geometry: Geometry | undefined;
  /** The engine's activations are one stack, so requests take turns. */
  #turn: Promise<unknown> = Promise.resolve();

  private constructor(options: PipelineOptions, manifest: Manifest, digest: string, meter: Meter) {
    this.#options = options;
    this.manifest = manifest;
    this.digest = digest;
    this.meter = meter;
    let runtime: OnnxRuntime | undefined;
    const onnx: OnnxRuntime = {
      load: (model, name) => {
        runtime ??= options.onnx?.(meter);
        if (!runtime)
          throw new EdgeDitError('engine-unavailable', `${name} needs an ONNX runtime, and this host was given none.`);
        return runtime.load(model, name);
      },
    };
    this.#textEncoder = options.textEncoder ?? this.#ownEncoder(onnx);
    this.#vae = this.#ownVae(onnx);
  }

  static async open(options: PipelineOptions): Promise<Pipeline> {
    const { store, model, signal } = options;
    const meter = options.meter ?? new Meter();
    const { manifest, digest } = await loadManifest(store, model, { signal, trust: options.trust });
    return new Pipeline(options, manifest, digest, meter);
  }

  /** Name of the engine, once a model is loaded, and why faster ones were passed over. */
  get engine(): { readonly name: string; readonly notes: readonly string[] } | undefined {
    return this.#engine && { name: this.#engine.engine.name, notes: this.#engine.notes };
  }

  get loaded(): boolean {
    return this.#model !== undefined;
  }

  /** Raises `invalid-request` where the request does not fit the model; `aborted` when its signal says so. */
  async generate(request: GenerateRequest, hooks: GenerateHooks = {}): Promise<Generated> {
    const settled = this.#settle(request);
    const run = this.#turn.then(() => this.#run(request, settled, hooks));
    this.#turn = run.catch(() => {});
    return run;
  }

  /** After what is under way, gives the engine's memory and the ONNX sessions back; the pipeline is of no use then. */
  async close(): Promise<void> {
    await this.#turn;
    this.#dropEngine();
    await Promise.all([this.#onnxEncoder?.release(), this.#vae?.release()]);
  }

  async #run(request: GenerateRequest, settled: SettledRequest, hooks: GenerateHooks): Promise<Generated> {
    const { steps, guidance, height, width } = settled;
    const times = [now()];
    const condition = await this.#condition(request, settled, hooks.signal);
    times.push(now());
    const { architecture, transformer } = await this.#load(hooks);
    times.push(now());
    const { geometry } = architecture;
    const samplerSize = height * width * geometry.inChannels;
    const giveBack = this.meter.take('sampling', SAMPLING_COPIES * 4 * samplerSize);
    try {
      const values = await sample({
        engine: this.#engine!.engine,
        transformer,
        geometry,
        sampler: createSampler(this.manifest.sampler, steps),
        conditions: { ...condition, batch: isGuided(guidance) ? 2 : 1, frames: 1, height, width },
        guidance,
        seed: request.seed,
        ...hooks,
      });
      times.push(now());
      const shape = [1, geometry.inChannels, height, width] as const;
      const image = this.#vae ? await this.#vae.decode({ shape, data: values }, hooks.signal) : { shape, data: values };
      const picture = pictureOf(image.data, image.shape[1], image.shape[2], image.shape[3]);
      times.push(now());
      const [encode, load, sampling, decode] = times.slice(1).map((time, i) => time - times[i]);
      const timings = { encode, load, sample: sampling, decode };
      return { ...picture, values: image.data, seed: request.seed, steps, guidance, timings };
    } finally {
      giveBack();
    }
  }

  /** Fetches and prepares the transformer, once. */
  async #load({ signal, onBytes }: GenerateHooks): Promise<LoadedModel> {
    if (this.#model) return this.#model;
    const { store, kernels, variant, openEngine = openWasmEngine } = this.#options;
    this.#engine ??= await openEngine(kernels, this.meter, variant);
    const { engine } = this.#engine;
    this.#refuseWhatCannotFit();
    const mark = engine.mark();
    try {
      this.#model = await loadModel(store, this.manifest, engine, { signal, onBytes, meter: this.meter });
      return this.#model;
    } catch (error) {
      engine.release(mark);
      throw error;
    }
  }

  /** Before a byte is fetched: the weights alone may be more than the budget has left. */
  #refuseWhatCannotFit(): void {
    const bytes = this.manifest.shards.reduce((sum, { length }) => sum + length, 0);
    this.meter.take(`the weights of ${this.manifest.model}`, bytes)();
  }

  #settle(request: GenerateRequest): SettledRequest {
    const { manifest } = this;
    this.#geometry ??= architectureByName(manifest.architecture).configure(manifest.config).geometry;
    const geometry = this.#geometry;
    const factor = manifest.pipeline.vae?.spatialFactor ?? 1;
    const steps = request.steps ?? manifest.defaults.steps;
    const guidance = request.guidance ?? manifest.defaults.guidance;
    this.#checkSteps(steps);
    if (!Number.isSafeInteger(request.seed) || request.seed < 0) {
      throw new EdgeDitError('invalid-request', `seed ${request.seed} is not an integer from 0 to 2^53 - 1.`);
    }
    if (!(guidance >= 0 && guidance <= MAX_GUIDANCE)) {
      throw new EdgeDitError('invalid-request', `guidance ${guidance} is not a number from 0 to ${MAX_GUIDANCE}.`);
    }
    const unit = factor * geometry.patchSize;
    const [height, width] = (['height', 'width'] as const).map((side) => {
      const pixels = request[side] ?? factor * geometry.sampleSize;
      if (!Number.isInteger(pixels) || pixels < unit || pixels > MAX_PIXELS || pixels % unit !== 0) {
        throw new EdgeDitError(
          'invalid-request',
          `${side} ${pixels} is not a multiple of ${unit} up to ${MAX_PIXELS}.`,
        );
      }
      if (geometry.fixedSize && pixels !== factor * geometry.sampleSize) {
        throw new EdgeDitError(
          'invalid-request',
          `${side} ${pixels}: this model makes pictures of ${factor * geometry.sampleSize} only.`,
        );
      }
      return pixels / factor;
    });
    return {
      steps,
      guidance,
      height,
      width,
      unit: factor,
      microConditions: usesMicroConditions(geometry.conditioning),
    };
  }

  #checkSteps(steps: number): void {
    try {
      createSampler(this.manifest.sampler, steps);
    } catch (cause) {
      if (!isEdgeDitError(cause, 'invalid-argument')) throw cause;
      throw new EdgeDitError('invalid-request', `steps ${steps}: ${cause.message}`, { cause });
    }
  }

  async #condition(
    request: GenerateRequest,
    settled: SettledRequest,
    signal?: AbortSignal,
  ): Promise<Partial<Conditions>> {
    const { conditioning } = this.manifest.pipeline;
    const guided = isGuided(settled.guidance);
    if (conditioning.type === 'class') {
      if (request.prompt !== undefined)
        throw new EdgeDitError('invalid-request', 'prompt: this model takes a class, not a prompt.');
      const label = classIndex(request.class, conditioning.count, conditioning.names);
      return { labels: guided ? [conditioning.count, label] : [label] };
    }
    if (request.class !== undefined)
      throw new EdgeDitError('invalid-request', 'class: this model takes a prompt, not a class.');
    const text = await this.#embed(request, guided, signal);
    if (!settled.microConditions) return { text };
    const [height, width] = [settled.height * settled.unit, settled.width * settled.unit];
    const rows = Array.from({ length: text.count });
    const resolution = Float32Array.from(rows.flatMap(() => [height, width]));
    return { text, resolution, aspectRatio: new Float32Array(rows.length).fill(height / width) };
  }

  async #embed(
    { prompt, negativePrompt, embedding }: GenerateRequest,
    guided: boolean,
    signal?: AbortSignal,
  ): Promise<TextEmbedding> {
    if (embedding) return guided ? joinEmbeddings(embedding.negative, embedding.prompt) : embedding.prompt;
    if (prompt === undefined)
      throw new EdgeDitError('invalid-request', 'prompt: missing; this model makes pictures from a text.');
    if (!this.#textEncoder) {
      throw new EdgeDitError(
        'invalid-request',
        `${this.manifest.model} ships no text encoder: send a precomputed embedding.`,
      );
    }
    return this.#textEncoder.encode(guided ? [negativePrompt ?? '', prompt] : [prompt], signal);
  }

  #ownEncoder(runtime: OnnxRuntime): TextEncoder | undefined {
    const { conditioning } = this.manifest.pipeline;
    if (conditioning.type !== 'text' || !conditioning.textEncoder || !conditioning.tokenizer) return undefined;
    const { tokenizer, textEncoder } = conditioning;
    this.#onnxEncoder = new OnnxTextEncoder({
      runtime,
      meter: this.meter,
      loadModel: () => this.#onnxFile(textEncoder),
      loadTokenizer: async () => loadTokenizer(JSON.parse(new TextDecoder().decode(await this.#file(tokenizer)))),
    });
    return this.#options.wrapEncoder?.(this.#onnxEncoder, this.manifest) ?? this.#onnxEncoder;
  }

  #ownVae(runtime: OnnxRuntime): OnnxVaeDecoder | undefined {
    const { vae } = this.manifest.pipeline;
    if (!vae) return undefined;
    const { decoder, scalingFactor, shiftFactor } = vae;
    return new OnnxVaeDecoder({
      runtime,
      loadModel: () => this.#onnxFile(decoder),
      factors: { scaling: scalingFactor, shift: shiftFactor },
    });
  }

  /**
   * A file for onnxruntime, whose memory is never given back: where that and the engine would not fit together, the engine
   * goes, and the transformer is fetched again. Nothing of it is in use when an auxiliary model is loaded.
   */
  #onnxFile(name: string): Promise<Uint8Array> {
    const { length } = this.#record(name);
    if (this.#engine && this.meter.current + ONNX_BYTES + length > this.meter.budget) this.#dropEngine();
    return this.#file(name);
  }

  #dropEngine(): void {
    this.#engine?.close();
    this.#engine = undefined;
    this.#model = undefined;
  }

  #record(name: string): FileRecord {
    return this.manifest.files.find((file) => file.name === name)!;
  }

  /** Callers drop the bytes as soon as they have read them, which the meter cannot see: it stops counting here. */
  async #file(name: string): Promise<Uint8Array> {
    const { bytes, release } = await fetchFile(this.#options.store, this.#record(name), { meter: this.meter });
    release();
    return bytes;
  }
}

interface SettledRequest {
  readonly steps: number;
  readonly guidance: number;
  /** Of the sample: pixels divided by the VAE's factor. */
  readonly height: number;
  readonly width: number;
  /** Pixels a unit of the sample. */
  readonly unit: number;
  readonly microConditions: boolean;
}

/** What onnxruntime-web takes for itself and a text encoder of 17 MB. */
const ONNX_BYTES = 56 * 2 ** 20;
/** Beyond any published use; keeps hostile values out of the arithmetic. */
const MAX_GUIDANCE = 100;
const MAX_PIXELS = 4096;
/** Float32 copies of a sample that are alive at once in a step: batch of two in and out, state, history, picture. */
export const SAMPLING_COPIES = 12;

const now = () => performance.now();

const usesMicroConditions = (conditioning: { kind: string; microConditions?: boolean }) =>
  conditioning.microConditions === true;

function classIndex(given: number | string | undefined, count: number, names: readonly string[] | undefined): number {
  const index = typeof given === 'string' ? (names?.indexOf(given) ?? -1) : given;
  if (index !== undefined && Number.isInteger(index) && index >= 0 && index < count) return index;
  const known = names ? ` or one of ${names.slice(0, 20).join(', ')}${names.length > 20 ? ', …' : ''}` : '';
  throw new EdgeDitError('invalid-request', `class: got ${given ?? 'nothing'}, expected 0 to ${count - 1}${known}.`);
}

/** Two embeddings of one row each as one of two rows. */
function joinEmbeddings(a: TextEmbedding, b: TextEmbedding): TextEmbedding {
  if (a.count !== 1 || b.count !== 1 || a.tokens !== b.tokens || a.channels !== b.channels) {
    throw new EdgeDitError('invalid-request', 'embedding: both must have one row, and the same tokens and channels.');
  }
  const data = new Float32Array([...a.data, ...b.data]);
  return { count: 2, tokens: a.tokens, channels: a.channels, data, mask: new Int32Array([...a.mask, ...b.mask]) };
}
