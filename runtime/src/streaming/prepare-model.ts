/**
 * A model made ready for requests in what a budget has left. Where the engine can set memory aside, the model's blocks come
 * while it runs, and stream where not all of them fit; otherwise it is loaded whole.
 */
import type { Engine } from '../engines/engine.ts';
import { EdgeDitError, isEdgeDitError } from '../errors.ts';
import type { Manifest } from '../format/manifest.ts';
import { Meter } from '../meter.ts';
import type { ConfiguredArchitecture, Transformer } from '../models/architecture.ts';
import { loadModel } from '../models/load-model.ts';
import type { Store } from '../stores/store.ts';
import { type CountedRequest, countModel } from './count-model.ts';
import { planLayout } from './layout.ts';
import { FETCHED_AT_ONCE } from './plan-blocks.ts';
import { type ModelRun, type RunOptions, StreamedModel } from './streamed-model.ts';

type PlannedRequest = Omit<CountedRequest, 'keep'>;

export interface Preparation extends Pick<RunOptions, 'signal' | 'onBytes' | 'onShard'> {
  readonly store: Store;
  readonly manifest: Manifest;
  readonly architecture: ConfiguredArchitecture;
  /** That holds nothing yet. */
  readonly engine: Engine;
  readonly meter: Meter;
  /** The first one. */
  readonly request: PlannedRequest;
}

export interface Streaming {
  readonly blocks: number;
  /** Of those, how many are read again in every step. */
  readonly streamed: number;
  readonly bytesEachStep: number;
}

export interface PreparedModel {
  readonly transformer: Transformer;
  /** Whether all that stays in memory is there. */
  readonly loaded: boolean;
  readonly broken: boolean;
  readonly streaming: Streaming;
  /** Whether there is room for a request without preparing the model anew. */
  has(request: PlannedRequest): Promise<boolean>;
  /** For one request at a time; until it is stopped. */
  start(options: Omit<RunOptions, 'window'>): ModelRun;
}

/** @throws EdgeDitError `memory-exceeded` for what does not fit even when blocks are streamed; what `loadModel` raises */
export async function prepareModel(options: Preparation): Promise<PreparedModel> {
  const { store, manifest, architecture, engine, meter, request } = options;
  if (!canStream(engine)) return loadWhole(options);
  const overhead = engine.bytes;
  const room = meter.budget - meter.current;
  const { layout, least } = await planLayout(manifest, architecture, request, room);
  if (!layout) {
    throw new EdgeDitError(
      'memory-exceeded',
      `${manifest.model} needs ${least} bytes for this request even when its blocks are read one at a time, but ${meter.current} of the budget of ${meter.budget} are in use; raise the budget, or choose a smaller picture, a smaller model or fewer bits.`,
    );
  }
  const model = new StreamedModel(store, manifest, architecture, engine, layout);
  const { plan, units, counts, keep } = layout;
  const weights = overhead + counts.fixed + plan.residentBytes + plan.placeBytes;
  const streamed = new Set(plan.stream);
  const blocksOf = (of: readonly { blocks: readonly number[] }[]) => of.flatMap(({ blocks }) => blocks).length;
  /** Of the engine, with the session of a request. */
  let needed = weights + counts.conditions + counts.activations;
  let last = keyOf(request);
  return {
    transformer: model.transformer,
    get loaded() {
      return model.loaded;
    },
    get broken() {
      return model.broken;
    },
    streaming: {
      streamed: blocksOf(units.filter(({ name }) => streamed.has(name))),
      blocks: blocksOf(units),
      bytesEachStep: plan.readBytes,
    },
    async has(next) {
      if (keyOf(next) !== last) {
        const { conditions, activations } = await countModel(manifest, architecture, layout, { ...next, keep });
        needed = weights + conditions + activations;
        last = keyOf(next);
      }
      const window = model.loaded && plan.stream.length === 0 ? 0 : Math.max(layout.largest, plan.windowBytes);
      return Math.max(needed, engine.bytes) - engine.bytes + window <= meter.budget - meter.current;
    },
    start(run) {
      if (model.loaded && plan.stream.length === 0) return IDLE;
      // What the engine will grow by while the window is open.
      const grown = plan.windowBytes === 0 ? weights + counts.making : needed;
      const free = meter.budget - meter.current - Math.max(0, grown - engine.bytes);
      const bytes = Math.max(plan.windowBytes, layout.largest, Math.min(free, amplyFetched(layout.largest, weights)));
      const giveBack = meter.take('fetched objects', bytes);
      const { begun, loaded, stop } = model.start({ ...run, concurrency: FETCHED_AT_ONCE, window: new Meter(bytes) });
      // Whoever only loads does not wait for it.
      const first = plan.windowBytes === 0 ? begun.finally(giveBack) : begun;
      first.catch(() => {});
      return { begun: first, loaded, stop: () => stop().finally(giveBack) };
    },
  };
}

/**
 * A window for all that may be fetched at once, but for a model of few shards no more than a quarter of it, two shards at
 * least: such a model has come soon in any case, and the window would be most of its request's memory.
 */
const amplyFetched = (largest: number, weights: number): number =>
  Math.min(FETCHED_AT_ONCE * largest, Math.max(2 * largest, Math.floor(weights / 4)));

const IDLE: ModelRun = { begun: Promise.resolve(), loaded: Promise.resolve(), stop: async () => {} };

const canStream = (engine: Engine): engine is Engine & Required<Pick<Engine, 'place'>> => engine.place !== undefined;

/** Equal for requests that take the same memory. */
const keyOf = ({ conditions: { batch, frames, height, width, text }, timesteps }: PlannedRequest) =>
  [batch, frames, height, width, text?.tokens, timesteps.length].join(' ');

async function loadWhole(options: Preparation): Promise<PreparedModel> {
  const { store, manifest, engine, meter, signal, onBytes, onShard } = options;
  const bytes = manifest.shards.reduce((sum, { length }) => sum + length, 0);
  try {
    meter.take(`the weights of ${manifest.model}`, bytes)();
  } catch (cause) {
    if (!isEdgeDitError(cause)) throw cause;
    const message = `${cause.message} The engine ${engine.name} cannot stream blocks; the wasm engine can.`;
    throw new EdgeDitError(cause.code, message, { cause });
  }
  const mark = engine.mark();
  try {
    const { architecture, transformer } = await loadModel(store, manifest, engine, { signal, onBytes, onShard, meter });
    const blocks = new Set([...architecture.linears].flatMap(({ group }) => (/^block\./.test(group) ? [group] : [])));
    return {
      transformer,
      loaded: true,
      broken: false,
      streaming: { streamed: 0, blocks: blocks.size, bytesEachStep: 0 },
      has: async () => true,
      start: () => IDLE,
    };
  } catch (error) {
    engine.release(mark);
    throw error;
  }
}
