/**
 * What a model takes in the engine of the edge, without a byte of its weights: sizes from the manifest in, bytes and products
 * out. It is the real network over an engine that counts (`counting-engine.ts`).
 */
import type { LinearSource } from '../engines/engine.ts';
import { READ_AHEAD_BYTES } from '../engines/wasm-memory.ts';
import { EdgeDitError } from '../errors.ts';
import { GROUP_RECORD_BYTES } from '../format/code-groups.ts';
import { encodingByName } from '../format/encodings.ts';
import type { Manifest, TensorRecord } from '../format/manifest.ts';
import type {
  Conditions,
  ConfiguredArchitecture,
  LinearSpec,
  ModelWeights,
  TableSpec,
} from '../models/architecture.ts';
import { activationBitsOf } from '../models/load-model.ts';
import { balanceName, groupsName, rotationName } from '../models/weights.ts';
import { CountingEngine, type Products } from './counting-engine.ts';
import type { DividedModel, Part } from './units.ts';

export interface CountedRequest {
  readonly conditions: Conditions;
  readonly timesteps: readonly number[];
  /** Whether what blocks make of the conditions is kept: see `BlockArrivals`. */
  readonly keep: boolean;
}

/** Bytes in the engine's memory. */
export interface ModelCounts {
  /** Of what lies outside blocks. */
  readonly fixed: number;
  /** Of each unit in a place. */
  readonly units: readonly number[];
  /** Above what is there when layers are made, at most. */
  readonly making: number;
  /** From the beginning of a request to its end. */
  readonly conditions: number;
  /** At most, above those. */
  readonly activations: number;
  /** Made once a request. */
  readonly begin: Products;
  readonly step: Products;
}

const EMPTY = new Float32Array(0);

/** @throws EdgeDitError `checkpoint-mismatch` for a layer without a weight, and what the architecture does of the request */
export async function countModel(
  manifest: Manifest,
  architecture: ConfiguredArchitecture,
  { fixed, units }: DividedModel,
  request: CountedRequest,
): Promise<ModelCounts> {
  const engine = new CountingEngine();
  const { conditions, timesteps, keep } = request;
  const weights = new HollowWeights(manifest, engine, keep);
  const empty = engine.mark();
  weights.add(fixed);
  const loaded = engine.mark();
  const unitBytes = units.map((unit) => engine.placeBytes(() => weights.add(unit)));
  const making = engine.peak - loaded;
  // Layers are made between blocks, above the activations that are held there.
  weights.arrivals.ready = async () => {
    const mark = engine.mark();
    engine.input(EMPTY, [(making - READ_AHEAD_BYTES) / 4]);
    engine.release(mark);
  };
  engine.forget();
  const session = architecture.build(weights, engine).begin(conditions, timesteps);
  const begun = engine.mark();
  const { batch, frames, height, width } = conditions;
  const sample = new Float32Array(batch * architecture.geometry.inChannels * frames * height * width);
  const forward = async () => {
    const before = { ...engine.products };
    await session.forward(sample, new Float32Array(batch).fill(timesteps[0]));
    return less(engine.products, before);
  };
  await forward();
  const first = { ...engine.products };
  const step = await forward();
  return {
    fixed: loaded - empty,
    units: unitBytes,
    making,
    conditions: begun - loaded,
    activations: engine.peak - begun,
    // What the first forward made besides is kept: it belongs to the beginning.
    begin: less(first, step),
    step,
  };
}

const less = (a: Products, b: Products): Products => ({ codes: a.codes - b.codes, floats: a.floats - b.floats });

/** Layers of the right sizes without any values. */
class HollowWeights implements ModelWeights {
  readonly attention;
  readonly arrivals: { readonly keep: boolean; ready: () => Promise<void> };
  readonly #engine: CountingEngine;
  readonly #records: ReadonlyMap<string, TensorRecord>;
  readonly #activationBits: ReturnType<typeof activationBitsOf>;
  readonly #linears = new Map<string, ReturnType<CountingEngine['linear']>>();
  readonly #tables = new Map<string, ReturnType<CountingEngine['constant']>>();
  /** As long as the longest weight, and never looked at. */
  readonly #panels: Uint8Array;

  constructor(manifest: Manifest, engine: CountingEngine, keep: boolean) {
    this.attention = manifest.quantization?.attention ?? ('float' as const);
    this.arrivals = { keep, ready: async () => {} };
    this.#engine = engine;
    this.#records = new Map(manifest.tensors.map((record) => [record.name, record]));
    this.#activationBits = activationBitsOf(manifest);
    this.#panels = new Uint8Array(manifest.tensors.reduce((most, { length }) => Math.max(most, length), 0));
  }

  add({ linears, tables }: Pick<Part, 'linears' | 'tables'>): void {
    for (const spec of linears) this.#linears.set(spec.name, this.#engine.linear(this.#source(spec)));
    for (const { name, shape } of tables) this.#tables.set(name, this.#engine.constant(EMPTY, shape));
  }

  linear(name: string) {
    return this.#linears.get(name)!;
  }

  table(name: TableSpec['name']) {
    return this.#tables.get(name)!;
  }

  values(): Float32Array {
    return EMPTY;
  }

  #source({ name, outFeatures, inFeatures }: LinearSpec): LinearSource {
    const weight = this.#records.get(`${name}.weight`);
    if (!weight) throw new EdgeDitError('checkpoint-mismatch', `the model lacks ${name}.`);
    const { bits } = encodingByName(weight.encoding);
    const sizes = { outFeatures, inFeatures };
    if (!bits) return { ...sizes, kind: 'float', weight: EMPTY };
    const has = (tensor: string) => this.#records.has(tensor);
    const groups = this.#records.get(groupsName(name));
    return {
      ...sizes,
      kind: 'codes',
      bits,
      panels: this.#panels.subarray(0, weight.length),
      scale: EMPTY,
      zero: this.#panels.subarray(0, 0),
      groups: groups && {
        size: (inFeatures * groups.shape[0] * GROUP_RECORD_BYTES) / groups.length,
        records: this.#panels.subarray(0, groups.length),
      },
      // Layers of equal balances and signs share their operands, and a manifest does not say which are equal.
      balance: has(balanceName(name)) ? new Float32Array(inFeatures).fill(1 + this.#linears.size) : undefined,
      rotation: has(rotationName(name)) ? signs(this.#linears.size, inFeatures) : undefined,
      activationBits: this.#activationBits.get(name),
    };
  }
}

/** Others for each of the first 2^32: its binary digits, again and again. */
const signs = (index: number, count: number) => Uint8Array.from({ length: count }, (_, i) => (index >> (i % 32)) & 1);
