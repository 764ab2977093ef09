/**
 * The transformer of a model in an engine, and the steps that run on it. A request lays it out in what memory is left, and
 * computes while it comes; it stays for the next one. A device that is lost costs the engine, not the steps that are done.
 */
import type { KernelModules, Variant } from '@edge-dit/wasm-kernels';
import type { Engine } from './engines/engine.ts';
import { type OpenEngine, type OpenedEngine, openWasmEngine } from './engines/open-wasm.ts';
import { isEdgeDitError } from './errors.ts';
import type { Manifest } from './format/manifest.ts';
import type { Meter } from './meter.ts';
import type { ConfiguredArchitecture } from './models/architecture.ts';
import { architectureByName } from './models/index.ts';
import { isGuided, type SampleCheckpoint, type SampleOptions, sample } from './sample.ts';
import { createSampler } from './samplers/index.ts';
import type { Store } from './stores/store.ts';
import { emptyConditions } from './streaming/empty-conditions.ts';
import { type Preparation, type PreparedModel, prepareModel, type Streaming } from './streaming/prepare-model.ts';
import type { ModelRun } from './streaming/streamed-model.ts';

export interface DenoiserOptions {
  readonly store: Store;
  readonly manifest: Manifest;
  readonly meter: Meter;
  readonly kernels: KernelModules;
  readonly variant?: Variant;
  readonly openEngine?: OpenEngine;
}

export interface LoadHooks {
  readonly signal?: AbortSignal;
  /** Bytes of shards as they arrive: while the model loads, and in every step where blocks stream. */
  readonly onBytes?: (count: number) => void;
  /** Each shard that is whole and verified. */
  readonly onShard?: (index: number) => void;
}

/** Devices that one generation may lose. */
const MAX_LOSSES = 3;

export class Denoiser {
  readonly #options: DenoiserOptions;
  #architecture: ConfiguredArchitecture | undefined;
  #engine: OpenedEngine | undefined;
  /** What became of engines before it. */
  #losses: string[] = [];
  #model: PreparedModel | undefined;
  /** What is told of the last ones, which may be gone. */
  #used: { readonly name: string; readonly notes: readonly string[] } | undefined;
  #streaming: Streaming | undefined;

  constructor(options: DenoiserOptions) {
    this.#options = options;
  }

  /** From the config, for the checks of every request: known before the weights are. */
  get architecture(): ConfiguredArchitecture {
    const { architecture, config } = this.#options.manifest;
    return (this.#architecture ??= architectureByName(architecture).configure(config));
  }

  /** The engine that computes, or did before it made room. */
  get engine(): { readonly name: string; readonly notes: readonly string[] } | undefined {
    return this.#used && { name: this.#used.name, notes: [...this.#losses, ...this.#used.notes] };
  }

  get loaded(): boolean {
    return this.#model?.loaded ?? false;
  }

  get streaming(): Streaming | undefined {
    return this.#streaming;
  }

  /** Fetches what stays of the model for requests of the usual size. */
  async load(hooks: LoadHooks): Promise<void> {
    if (this.loaded) return;
    const { manifest } = this.#options;
    const { steps, guidance } = manifest.defaults;
    const { timesteps } = createSampler(manifest.sampler, steps);
    const conditions = emptyConditions(manifest, this.architecture.geometry, isGuided(guidance) ? 2 : 1);
    await this.#withModel({ conditions, timesteps }, hooks, [], ({ loaded }) => loaded);
  }

  /** The steps; where a device is lost, the rest of them on the engine that is to be had then. */
  async sample(
    hooks: LoadHooks,
    onBegun: () => void,
    options: Omit<SampleOptions, 'engine' | 'transformer' | 'geometry'>,
  ): Promise<SampleCheckpoint> {
    const { onStep, stopAfter = Number.POSITIVE_INFINITY, conditions, sampler } = options;
    const end = (options.from?.step ?? 0) + stopAfter;
    let { from } = options;
    const lost: string[] = [];
    for (;;) {
      const done = from?.step ?? 0;
      try {
        const request = { conditions, timesteps: sampler.timesteps.slice(done, end) };
        return await this.#withModel(request, hooks, lost, async (run, { transformer }, engine) => {
          await run.begun;
          if (lost.length === 0) onBegun();
          const { geometry } = this.architecture;
          return sample({
            ...options,
            engine,
            transformer,
            geometry,
            from,
            stopAfter: end - done,
            onStep: (step, steps, report) => {
              from = report;
              return onStep?.(step, steps, report);
            },
          });
        });
      } catch (error) {
        if (!isEdgeDitError(error, 'device-lost') || lost.length >= MAX_LOSSES) throw error;
        const name = this.#engine?.kind ?? this.#engine?.engine.name ?? 'the engine';
        lost.push(name);
        this.#losses = [
          `${name}: its device was lost after step ${from?.step ?? 0} (${error.message}); the next one went on`,
        ];
        this.drop();
      }
    }
  }

  /** Uses the transformer, which is fetched meanwhile where it is not there. */
  async #withModel<T>(
    request: Preparation['request'],
    { signal, onBytes, onShard }: LoadHooks,
    lost: readonly string[],
    use: (run: ModelRun, model: PreparedModel, engine: Engine) => Promise<T>,
  ): Promise<T> {
    const { store, manifest, meter, kernels, variant, openEngine = openWasmEngine } = this.#options;
    const hooks = { signal, onBytes, onShard };
    if (this.#model && !(await this.#model.has(request))) this.drop();
    if (!this.#model) {
      this.#engine ??= await openEngine(kernels, meter, variant, lost);
      const { engine } = this.#engine;
      try {
        const architecture = this.architecture;
        this.#model = await prepareModel({ ...hooks, store, manifest, architecture, engine, meter, request });
      } catch (error) {
        // What it had set aside is of no use to the next request.
        if (!isEdgeDitError(error, 'device-lost')) this.drop();
        throw error;
      }
    }
    const model = this.#model;
    const { engine, notes } = this.#engine!;
    this.#used = { name: engine.name, notes };
    this.#streaming = model.streaming;
    const run = model.start({ ...hooks, passes: request.timesteps.length });
    try {
      return await use(run, model, engine);
    } finally {
      await run.stop();
      if (model.broken) this.drop();
    }
  }

  /** Gives the engine's memory back, and the model with it. */
  drop(): void {
    this.#engine?.close();
    this.#engine = undefined;
    this.#model = undefined;
  }
}
