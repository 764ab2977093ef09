/**
 * A published model, ready to generate. Opening reads the manifest only. The first request encodes its prompt, then lays
 * out the transformer in what memory is left, and computes while it comes: the text encoder's file is gone before the
 * shards come, so the two do not add up in memory.
 */

import type { KernelModules, Variant } from '@edge-dit/wasm-kernels';
import { packCheckpoint, requestIdentity, unpackCheckpoint } from './checkpoint.ts';
import { Denoiser, type LoadHooks } from './denoiser.ts';
import type { OpenEngine } from './engines/open-wasm.ts';
import { EdgeDitError } from './errors.ts';
import { fetchFile } from './fetch-model.ts';
import type { FileRecord, Manifest } from './format/manifest.ts';
import { loadManifest } from './load-manifest.ts';
import { Meter } from './meter.ts';
import type { Conditions } from './models/architecture.ts';
import type { OnnxRuntime } from './onnx/onnx-runtime.ts';
import { OnnxVaeDecoder } from './onnx/vae-decoder.ts';
import { type Picture, pictureOf, thumbnailOf } from './picture.ts';
import { isGuided, type StepReport } from './sample.ts';
import { createSampler } from './samplers/index.ts';
import { type GenerateRequest, joinEmbeddings, type SettledRequest, settleRequest } from './settle-request.ts';
import type { Store } from './stores/store.ts';
import type { Streaming } from './streaming/prepare-model.ts';
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

export type { GenerateRequest, LoadHooks };

export interface GenerateHooks extends LoadHooks {
  /** After each step, and waited for; step counts from 1. */
  readonly onStep?: (step: number, steps: number, report: GenerateStep) => void | Promise<void>;
  /** A checkpoint of the same request and model, to go on from. */
  readonly from?: Uint8Array;
}

/** What can be had of a generation after a step, at the cost of asking for it. */
export interface GenerateStep {
  /** Goes on from here, on any machine: see `GenerateHooks.from`. */
  checkpoint(): Promise<Uint8Array>;
  /**
   * What the picture is becoming, its longer side at most `side` pixels. Undefined for models of latents: what a latent looks
   * like only its decoder knows, which costs as much as many steps.
   */
  preview(side: number): Picture | undefined;
}

/** A generation that was stopped before its last step. */
export interface Suspended {
  readonly checkpoint: Uint8Array;
  /** Steps done, and of how many. */
  readonly step: number;
  readonly steps: number;
}

export interface Generated extends Picture {
  readonly seed: number;
  readonly steps: number;
  readonly guidance: number;
  /** The sample before it became bytes: [channels, height, width], or the latent's decoded picture. */
  readonly values: Float32Array;
  /**
   * Milliseconds; hosts that stop their clock while computing report 0. `load` ends when the first block can compute: what
   * it waits for afterwards is in `sample`.
   */
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
  readonly #denoiser: Denoiser;
  /** The engine's activations are one stack, so requests take turns. */
  #turn: Promise<unknown> = Promise.resolve();

  private constructor(options: PipelineOptions, manifest: Manifest, digest: string, meter: Meter) {
    this.#options = options;
    this.manifest = manifest;
    this.digest = digest;
    this.meter = meter;
    this.#denoiser = new Denoiser({ ...options, manifest, meter });
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
    return this.#denoiser.engine;
  }

  /** Whether all that stays in memory is there. */
  get loaded(): boolean {
    return this.#denoiser.loaded;
  }

  /** Which blocks are read again in every step: once the model has been laid out in memory. */
  get streaming(): Streaming | undefined {
    return this.#denoiser.streaming;
  }

  /** What a request asks of this model. @throws EdgeDitError `invalid-request` where it does not fit */
  check(request: GenerateRequest): SettledRequest {
    const settled = settleRequest(request, this.manifest, this.#denoiser.architecture.geometry);
    if (request.prompt !== undefined && !this.#textEncoder && !request.embedding) {
      throw new EdgeDitError(
        'invalid-request',
        `prompt: ${this.manifest.model} ships no text encoder: send a precomputed embedding.`,
      );
    }
    return settled;
  }

  /** Raises what `check` does; `aborted` when its signal says so; `resume-refused` for a checkpoint of something else. */
  async generate(request: GenerateRequest, hooks: GenerateHooks = {}): Promise<Generated> {
    const done = await this.advance(request, Number.POSITIVE_INFINITY, hooks);
    return done as Generated;
  }

  /** As `generate`, but stops after `count` steps, at least 1, unless those were all. */
  async advance(request: GenerateRequest, count: number, hooks: GenerateHooks = {}): Promise<Generated | Suspended> {
    const settled = this.check(request);
    return this.#inTurn(() => this.#run(request, settled, count, hooks));
  }

  /** Fetches and prepares what stays of the transformer for usual requests, for which the first one would wait. */
  async load(hooks: LoadHooks = {}): Promise<void> {
    await this.#inTurn(() => this.#denoiser.load(hooks));
  }

  /**
   * What the text encoder gives for prompts, a row each: for devices that have none, see `remoteTextEncoder`.
   * @throws EdgeDitError `invalid-request` where the model has no text encoder, or for a prompt
   */
  async embed(prompts: readonly string[], signal?: AbortSignal): Promise<TextEmbedding> {
    const encoder = this.#textEncoder;
    if (!encoder) throw new EdgeDitError('invalid-request', `prompt: ${this.manifest.model} ships no text encoder.`);
    return this.#inTurn(() => encoder.encode(prompts, signal));
  }

  /** After what is under way, gives the engine's memory and the ONNX sessions back; the pipeline is of no use then. */
  async close(): Promise<void> {
    await this.#turn;
    this.#denoiser.drop();
    await Promise.all([this.#onnxEncoder?.release(), this.#vae?.release()]);
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const run = this.#turn.then(work);
    this.#turn = run.catch(() => {});
    return run;
  }

  async #run(
    request: GenerateRequest,
    settled: SettledRequest,
    count: number,
    hooks: GenerateHooks,
  ): Promise<Generated | Suspended> {
    const { steps, guidance, height, width } = settled;
    const { signal, onStep } = hooks;
    const times = [now()];
    const { geometry } = this.#denoiser.architecture;
    const length = height * width * geometry.inChannels;
    const identity = await requestIdentity(this.digest, request, settled);
    const from = hooks.from && (await unpackCheckpoint(hooks.from, { identity, steps, length }));
    const given = await this.#condition(request, settled, signal);
    times.push(now());
    const shape = [1, geometry.inChannels, height, width] as const;
    const giveBack = this.meter.take('sampling', SAMPLING_COPIES * 4 * length);
    const reportOf = (report: StepReport): GenerateStep => ({
      checkpoint: () => packCheckpoint(report, identity),
      preview: (side) => (this.#vae ? undefined : thumbnailOf(report.predicted(), shape[1], height, width, side)),
    });
    try {
      const { step, state } = await this.#denoiser.sample(hooks, () => times.push(now()), {
        sampler: createSampler(this.manifest.sampler, steps),
        conditions: { ...given, batch: isGuided(guidance) ? 2 : 1, frames: 1, height, width },
        guidance,
        seed: request.seed,
        from,
        stopAfter: count,
        signal,
        onStep: onStep && ((done, of, report) => onStep(done, of, reportOf(report))),
      });
      if (step < steps) return { checkpoint: await packCheckpoint({ step, state }, identity), step, steps };
      times.push(now());
      const image = this.#vae ? await this.#vae.decode({ shape, data: state.x }, signal) : { shape, data: state.x };
      const picture = pictureOf(image.data, image.shape[1], image.shape[2], image.shape[3]);
      times.push(now());
      const [encode, load, sampling, decode] = times.slice(1).map((time, i) => time - times[i]);
      const timings = { encode, load, sample: sampling, decode };
      return { ...picture, values: image.data, seed: request.seed, steps, guidance, timings };
    } finally {
      giveBack();
    }
  }

  async #condition(
    request: GenerateRequest,
    settled: SettledRequest,
    signal?: AbortSignal,
  ): Promise<Partial<Conditions>> {
    const guided = isGuided(settled.guidance);
    const { conditioning } = this.manifest.pipeline;
    if (conditioning.type === 'class') {
      const label = settled.label!;
      return { labels: guided ? [conditioning.count, label] : [label] };
    }
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
    return this.#textEncoder!.encode(guided ? [negativePrompt ?? '', prompt!] : [prompt!], signal);
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
    if (this.meter.current + ONNX_BYTES + length > this.meter.budget) this.#denoiser.drop();
    return this.#file(name);
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

/** What onnxruntime-web takes for itself and a text encoder of 17 MB. */
const ONNX_BYTES = 56 * 2 ** 20;
/** Float32 copies of a sample that are alive at once in a step: batch of two in and out, state, history, picture. */
export const SAMPLING_COPIES = 12;

const now = () => performance.now();
