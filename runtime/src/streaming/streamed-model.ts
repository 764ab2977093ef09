/**
 * A model whose blocks come while it runs. A layout in, a network out that waits for the block that it is about to
 * compute: blocks that stay are fetched once, those that stream share a place and are fetched again in every pass, each while
 * the blocks before it compute. What a run that failed has fetched stays; the next one fetches the rest.
 */

import { eitherSignal } from '../either-signal.ts';
import type { Engine, Linear, Place, Tensor } from '../engines/engine.ts';
import { EdgeDitError } from '../errors.ts';
import { ObjectBuffers } from '../fetch.ts';
import { type FetchModelOptions, fetchShards } from '../fetch-model.ts';
import type { Manifest } from '../format/manifest.ts';
import type { Meter } from '../meter.ts';
import type { ConfiguredArchitecture, ModelWeights, Transformer } from '../models/architecture.ts';
import { activationBitsOf, tensorValue } from '../models/load-model.ts';
import { WeightLoader, type WeightLoaderOptions } from '../models/weights.ts';
import type { Store } from '../stores/store.ts';
import type { VerifiedShard } from '../verify.ts';
import type { Layout } from './layout.ts';
import type { Part } from './units.ts';

export interface RunOptions extends Pick<FetchModelOptions, 'signal' | 'onBytes' | 'onShard' | 'concurrency'> {
  /** How often the network will run. */
  readonly passes: number;
  /** Pays for what is on its way; has room for the largest shard at least. */
  readonly window: Meter;
}

/** One request's use of a model. */
export interface ModelRun {
  /** All that lies outside blocks is there, so that a session can begin; with a layout that has no room to fetch later, everything. */
  readonly begun: Promise<void>;
  /** All that stays is there. */
  readonly loaded: Promise<void>;
  /** Ends what is under way. Never fails. */
  stop(): Promise<void>;
}

/** Layers on their way into the engine, or there. */
interface Loading {
  readonly loader: WeightLoader;
  readonly place: Place | undefined;
  /** Shards that have not come. */
  readonly pending: Set<number>;
}

/** What is to come: a shard for all that stays, or for one unit that streams. */
interface Arrival {
  readonly shard: number;
  readonly unit?: number;
}

export class StreamedModel implements ModelWeights {
  readonly layout: Layout;
  readonly transformer: Transformer;
  readonly attention;
  readonly arrivals;
  readonly #store: Store;
  readonly #manifest: Manifest;
  readonly #engine: Engine;
  readonly #options: WeightLoaderOptions;
  /** By the names of layers and tables, and by the numbers of blocks. */
  readonly #unitOfName = new Map<string, number>();
  readonly #unitOfBlock = new Map<number, number>();
  readonly #streamed: ReadonlySet<number>;
  readonly #fixed: Loading;
  /** Of units that stay, and of the one that is in the place of those that stream. */
  readonly #units = new Map<number, Loading>();
  /** Where streamed units lie in turn. */
  readonly #slot: { readonly place: Place; unit?: number };
  /** The unit that computes. */
  #current: number | undefined;
  #failure: { readonly error: unknown } | undefined;
  #waiting: (() => void)[] = [];
  #broken = false;

  /** Sets the bytes of all blocks aside. @throws EdgeDitError `memory-exceeded`, `checkpoint-mismatch` */
  constructor(
    store: Store,
    manifest: Manifest,
    architecture: ConfiguredArchitecture,
    engine: Engine & Required<Pick<Engine, 'place'>>,
    layout: Layout,
  ) {
    const { plan, keep, units, fixed, counts } = layout;
    this.layout = layout;
    this.attention = manifest.quantization?.attention ?? ('float' as const);
    this.arrivals = { keep, ready: (block: number) => this.#ready(block) };
    this.#store = store;
    this.#manifest = manifest;
    this.#engine = engine;
    this.#options = {
      names: new Set(manifest.tensors.map(({ name }) => name)),
      attention: this.attention,
      activationBits: activationBitsOf(manifest),
    };
    const streams = new Set(plan.stream);
    this.#streamed = new Set(units.flatMap(({ name }, i) => (streams.has(name) ? [i] : [])));
    this.#slot = { place: engine.place(plan.placeBytes) };
    this.#fixed = this.#expect(fixed);
    for (const [i, unit] of units.entries()) {
      for (const { name } of [...unit.linears, ...unit.tables]) this.#unitOfName.set(name, i);
      for (const block of unit.blocks) this.#unitOfBlock.set(block, i);
      if (!this.#streamed.has(i)) this.#units.set(i, this.#expect(unit, engine.place(counts.units[i])));
    }
    this.transformer = architecture.build(this, engine);
  }

  /** Whether all that stays is there. */
  get loaded(): boolean {
    const stay = [this.#fixed, ...this.#units.values()];
    return !this.#broken && stay.every(({ pending }) => pending.size === 0);
  }

  /** What came did not fit the model: it is of no use any more. */
  get broken(): boolean {
    return this.#broken;
  }

  linear(name: string): Linear {
    return this.#weights(name).linear(name);
  }

  table(name: string): Tensor {
    return this.#weights(name).table(name);
  }

  values(name: string): Float32Array {
    return this.#weights(name).values(name);
  }

  /** One at a time. */
  start(options: RunOptions): ModelRun {
    const leave = new AbortController();
    const signal = eitherSignal(options.signal, leave.signal);
    this.#failure = undefined;
    this.#current = undefined;
    this.#empty();
    const filling = this.#fill({ ...options, signal }).then(
      () => this.#fail(new EdgeDitError('internal', 'a network ran more often than it was said to')),
      (error) => this.#fail(error),
    );
    const whole = this.layout.plan.windowBytes === 0;
    const loaded = this.#until(() => this.loaded);
    const begun = whole ? loaded : this.#until(() => this.#fixed.pending.size === 0);
    // Whoever does not wait for them hears of their failure from the first block.
    for (const promise of [loaded, begun]) promise.catch(() => {});
    const stop = async () => {
      leave.abort();
      this.#fail(new EdgeDitError('aborted', 'the run of a model was stopped'));
      await filling;
      this.#empty();
    };
    return { begun, loaded, stop };
  }

  async #ready(block: number): Promise<void> {
    const unit = this.#unitOfBlock.get(block)!;
    if (unit !== this.#current) {
      if (this.#current !== undefined && this.#current === this.#slot.unit) this.#empty();
      this.#current = unit;
      this.#wake();
    }
    await this.#until(() => this.#units.get(unit)?.pending.size === 0);
  }

  async #fill({ passes, window, ...options }: RunOptions): Promise<void> {
    const coming: Arrival[] = [];
    const arrivals = this.#arrivals(passes);
    function* order() {
      for (const arrival of arrivals) {
        coming.push(arrival);
        yield arrival.shard;
      }
    }
    // Of this run: what is kept for the next object must not outlive the window that pays for it.
    const buffers = new ObjectBuffers(this.layout.largest);
    const shared = { ...options, meter: window, buffers, order: order() };
    for await (const { index, shard, release } of fetchShards(this.#store, this.#manifest, shared)) {
      try {
        const { unit } = coming.shift()!;
        if (unit === undefined) this.#deliverKept(index, shard);
        else await this.#deliverStreamed(unit, index, shard);
      } finally {
        release();
      }
      this.#wake();
    }
  }

  /** Each shard that something that stays waits for, once, first those without which nothing begins; then as blocks run. */
  *#arrivals(passes: number): Generator<Arrival, void, undefined> {
    const { units } = this.layout;
    const asked = new Set<number>();
    const kept = [...this.#units].map(([i, { pending }]): [number, number[]] => [i, [...pending]]);
    const once = function* (shards: Iterable<number>): Generator<Arrival> {
      for (const shard of shards) {
        if (!asked.has(shard)) yield { shard };
        asked.add(shard);
      }
    };
    yield* once([...this.#fixed.pending]);
    const pendingOf = new Map(kept);
    // Where the network does not run, what stays comes all the same.
    for (let pass = 0; pass < Math.max(1, passes); pass++) {
      for (const [unit, { tensors }] of units.entries()) {
        if (!this.#streamed.has(unit)) yield* pass === 0 ? once(pendingOf.get(unit) ?? []) : [];
        else if (pass < passes) for (const shard of tensors.keys()) yield { shard, unit };
      }
    }
  }

  #deliverKept(index: number, shard: VerifiedShard): void {
    const { fixed, units } = this.layout;
    if (this.#fixed.pending.has(index)) this.#add(fixed, this.#fixed, index, shard);
    for (const [i, loading] of this.#units) {
      if (!this.#streamed.has(i) && loading.pending.has(index)) this.#add(units[i], loading, index, shard);
    }
  }

  async #deliverStreamed(unit: number, index: number, shard: VerifiedShard): Promise<void> {
    const part = this.layout.units[unit];
    if (!this.#units.has(unit)) {
      await this.#until(() => this.#slot.unit === undefined);
      this.#slot.unit = unit;
      this.#slot.place.clear();
      this.#units.set(unit, this.#expect(part, this.#slot.place));
    }
    this.#add(part, this.#units.get(unit)!, index, shard);
  }

  #add(part: Part, { loader, place, pending }: Loading, index: number, shard: VerifiedShard): void {
    const add = () => {
      for (const record of part.tensors.get(index)!) loader.add(record.name, record.shape, tensorValue(shard, record));
    };
    try {
      if (place) place.fill(add);
      else add();
      pending.delete(index);
      if (pending.size === 0) loader.finish();
    } catch (error) {
      this.#broken = true;
      throw error;
    }
  }

  #expect(part: Part, place?: Place): Loading {
    const loading = {
      loader: new WeightLoader(part, this.#engine, this.#options),
      place,
      pending: new Set(part.tensors.keys()),
    };
    if (loading.pending.size === 0) loading.loader.finish();
    return loading;
  }

  #empty(): void {
    if (this.#slot.unit !== undefined) this.#units.delete(this.#slot.unit);
    this.#slot.unit = undefined;
  }

  #weights(name: string): WeightLoader {
    const unit = this.#unitOfName.get(name);
    const loading = unit === undefined ? this.#fixed : this.#units.get(unit);
    if (loading) return loading.loader;
    throw new EdgeDitError('internal', `${name} is of a block that is not there`);
  }

  async #until(condition: () => boolean): Promise<void> {
    while (!condition()) {
      if (this.#failure) throw this.#failure.error;
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  #fail(error: unknown): void {
    this.#failure ??= { error };
    this.#wake();
  }

  #wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}
