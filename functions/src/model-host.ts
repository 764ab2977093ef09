/**
 * The models that an endpoint serves, by name. A pipeline is opened when it is first asked for; requests that ask at the
 * same time share the opening; one that failed is tried again by the next request. All share one memory budget.
 */
import { EdgeDitError, isEdgeDitError, unknownName } from '@edge-dit/runtime/errors';
import { Meter } from '@edge-dit/runtime/meter';
import {
  type Generated,
  type GenerateHooks,
  type GenerateRequest,
  Pipeline,
  type PipelineOptions,
  type Suspended,
} from '@edge-dit/runtime/pipeline';
import type { TextEmbedding } from '@edge-dit/runtime/text/conditioning';
import { stayAwake } from './stay-awake.ts';

export interface ModelHostOptions {
  /** Names in the store. No other can be asked for; the first is the default. */
  readonly models: readonly string[];
  /** What all pipelines have in common. */
  readonly pipeline: Omit<PipelineOptions, 'model' | 'meter' | 'signal'>;
  /** Of the isolate or the process. */
  readonly meter?: Meter;
}

export type ModelState = 'cold' | 'loading' | 'ready';

interface Entry {
  opening?: Promise<Pipeline>;
  pipeline?: Pipeline;
  /** Generations under way. */
  running: number;
}

export class ModelHost {
  readonly meter: Meter;
  readonly #options: ModelHostOptions;
  readonly #entries = new Map<string, Entry>();

  /** @throws EdgeDitError `invalid-argument` without a model */
  constructor(options: ModelHostOptions) {
    if (options.models.length === 0) {
      throw new EdgeDitError('invalid-argument', 'an endpoint serves at least one model; name those to serve.');
    }
    this.#options = options;
    this.meter = options.meter ?? new Meter();
    for (const name of options.models) this.#entries.set(name, { running: 0 });
  }

  get names(): readonly string[] {
    return [...this.#entries.keys()];
  }

  /** `cold`: a request has to load it first. */
  state(name: string): ModelState {
    const { pipeline, running } = this.#entry(name);
    if (pipeline?.loaded) return 'ready';
    return running > 0 ? 'loading' : 'cold';
  }

  /** The pipeline of a model, with its manifest and perhaps without its weights. @throws `model-not-found` */
  async pipeline(name = this.names[0]): Promise<Pipeline> {
    const entry = this.#entry(name);
    try {
      entry.opening ??= Pipeline.open({ ...this.#options.pipeline, model: name, meter: this.meter });
      entry.pipeline = await stayAwake(entry.opening);
      return entry.pipeline;
    } catch (cause) {
      entry.opening = undefined;
      // The store's message lists all that it has, which is not for clients.
      if (!isEdgeDitError(cause, 'model-not-found')) throw cause;
      throw new EdgeDitError('model-not-found', `model "${name}" is served here, but is not published yet.`, { cause });
    }
  }

  /** Raises what `Pipeline.generate` does. */
  async generate(
    name: string | undefined,
    request: GenerateRequest,
    hooks: GenerateHooks = {},
  ): Promise<{ pipeline: Pipeline; generated: Generated }> {
    return this.#use(name, async (pipeline) => ({ pipeline, generated: await pipeline.generate(request, hooks) }));
  }

  /** Raises what `Pipeline.advance` does. */
  async advance(
    name: string,
    request: GenerateRequest,
    count: number,
    hooks: GenerateHooks = {},
  ): Promise<Generated | Suspended> {
    return this.#use(name, (pipeline) => pipeline.advance(request, count, hooks));
  }

  /** What the text encoder of a model gives for a prompt. Raises what `Pipeline.embed` does. */
  async embed(
    name: string | undefined,
    prompt: string,
    signal?: AbortSignal,
  ): Promise<{ pipeline: Pipeline; embedding: TextEmbedding }> {
    return this.#use(name, async (pipeline) => ({ pipeline, embedding: await pipeline.embed([prompt], signal) }));
  }

  /** Where a model does not fit beside those that are idle, these make room, and it is tried once more. */
  async #use<T>(given: string | undefined, work: (pipeline: Pipeline) => Promise<T>): Promise<T> {
    const name = given ?? this.names[0];
    const entry = this.#entry(name);
    entry.running++;
    try {
      try {
        return await work(await this.pipeline(name));
      } catch (error) {
        if (!isEdgeDitError(error, 'memory-exceeded') || !(await this.#closeIdle())) throw error;
      }
      return await work(await this.pipeline(name));
    } finally {
      entry.running--;
    }
  }

  /** @returns whether there were any */
  async #closeIdle(): Promise<boolean> {
    const idle = [...this.#entries.values()].filter(({ running, pipeline }) => running === 0 && pipeline?.loaded);
    await Promise.all(
      idle.map(async (entry) => {
        const { pipeline } = entry;
        entry.opening = undefined;
        entry.pipeline = undefined;
        await pipeline?.close();
      }),
    );
    return idle.length > 0;
  }

  /** Closes what was opened, after the generations under way. */
  async close(): Promise<void> {
    await Promise.all([...this.#entries.values()].map(({ pipeline }) => pipeline?.close()));
  }

  /** A message less the place of the store, which is the operator's business. */
  redact(message: string): string {
    return message.replaceAll(this.#options.pipeline.store.name, 'the store');
  }

  #entry(name: string): Entry {
    const entry = this.#entries.get(name);
    if (entry) return entry;
    throw new EdgeDitError('model-not-found', unknownName('model', name, this.names).message);
  }
}
