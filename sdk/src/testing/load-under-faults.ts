/**
 * Loads of a model from stores that fail, into real wasm memory. In: how to open a store, and the versions of the model that
 * it may give. Out: how each load ended, how long it took and what it read twice. *After each load, whole or not, the
 * memory must be what a load without faults leaves there at that point: a wrong byte anywhere is an error here.*
 */
import { deadline } from '@edge-dit/runtime/deadline';
import { WasmEngine } from '@edge-dit/runtime/engines/wasm';
import { WasmMemory } from '@edge-dit/runtime/engines/wasm-memory';
import { type ErrorCode, isEdgeDitError } from '@edge-dit/runtime/errors';
import { shardKey } from '@edge-dit/runtime/format/keys';
import { loadManifest } from '@edge-dit/runtime/load-manifest';
import { Meter } from '@edge-dit/runtime/meter';
import { loadModel } from '@edge-dit/runtime/models/load-model';
import { MemoryStore } from '@edge-dit/runtime/stores/memory';
import type { Store } from '@edge-dit/runtime/stores/store';
import { sha256Hex } from '@edge-dit/runtime/verify';
import { instantiateKernels, type KernelModules } from '@edge-dit/wasm-kernels';
import { putModel, type RandomModel } from './random-model.ts';

export interface LoadOutcome {
  readonly name: string;
  /** `whole`, or the code of the error. */
  readonly end: 'whole' | ErrorCode;
  readonly ms: number;
  readonly readBytes: number;
  /** Beyond the length of each object. */
  readonly rereadBytes: number;
}

export interface FaultLoadsOptions {
  readonly kernels: KernelModules;
  /** Every version that the name may lead to. */
  readonly versions: readonly RandomModel[];
  /** By what they are called in the outcomes; load i takes store i modulo their number. */
  readonly stores: Readonly<Record<string, () => Store>>;
  readonly loads: number;
  readonly atOnce: number;
  /** Of a whole load, in milliseconds. */
  readonly limitMs: number;
  readonly onLoad?: (outcome: LoadOutcome) => void;
}

/** Short, so that many loads take little time; the proportions are those of the defaults. */
const PATIENCE = { hedgeMs: 300, stallMs: 2000 };

/** @throws Error when a byte in wasm memory is wrong, or a load ends otherwise than with a typed error */
export async function loadUnderFaults(options: FaultLoadsOptions): Promise<LoadOutcome[]> {
  const { kernels, versions, stores, loads, atOnce, limitMs, onLoad } = options;
  const truth = new Map<string, string>();
  for (const version of versions) await learn(new Bench(kernels), version, truth);
  const names = Object.keys(stores);
  const outcomes: LoadOutcome[] = [];
  let next = 0;
  const work = async () => {
    const bench = new Bench(kernels);
    while (next < loads) {
      const name = names[next++ % names.length];
      const outcome = { name, ...(await loadOnce(bench, stores[name](), { versions, truth, limitMs })) };
      outcomes.push(outcome);
      onLoad?.(outcome);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, work));
  return outcomes;
}

/** A memory with an engine, as new for every load. */
class Bench {
  readonly #memory = new WasmMemory(new Meter());
  readonly #start = this.#memory.top;
  readonly engine: WasmEngine;

  constructor({ float, simd }: KernelModules) {
    this.engine = new WasmEngine(instantiateKernels(float, simd!, this.#memory.memory, 'simd'), this.#memory);
  }

  clear(): void {
    this.engine.release(this.#start);
    this.#memory.u8(this.#start, this.#memory.bytes - this.#start).fill(0);
  }

  /** Of the weights: all that lies below the top. */
  digest(): Promise<string> {
    return sha256Hex(this.#memory.u8(0, this.#memory.top).slice());
  }
}

/** Notes what the memory holds after each shard of a version, and when it is whole. */
async function learn(bench: Bench, version: RandomModel, truth: Map<string, string>): Promise<void> {
  const { shards } = version.manifest;
  for (let count = 0; count <= shards.length; count++) {
    const store = new MemoryStore();
    await putModel(store, version);
    if (count < shards.length) await store.delete(shardKey(shards[count].sha256));
    bench.clear();
    const loading = loadModel(store, version.manifest, bench.engine);
    const end = await loading.then(
      () => 'whole',
      () => 'partial',
    );
    if ((end === 'whole') !== (count === shards.length)) throw new Error(`the truth after ${count} shards is ${end}`);
    truth.set(await bench.digest(), end === 'whole' ? version.digest : 'partial');
  }
}

interface Expectations {
  readonly versions: readonly RandomModel[];
  readonly truth: ReadonlyMap<string, string>;
  readonly limitMs: number;
}

async function loadOnce(bench: Bench, store: Store, expected: Expectations): Promise<Omit<LoadOutcome, 'name'>> {
  const { store: counted, read } = counting(store);
  bench.clear();
  const start = performance.now();
  let end: LoadOutcome['end'] = 'whole';
  let digest = 'partial';
  try {
    const options = { ...PATIENCE, signal: deadline(expected.limitMs, 'loading') };
    const loaded = await loadManifest(counted, expected.versions[0].manifest.model, options);
    await loadModel(counted, loaded.manifest, bench.engine, { ...options, meter: new Meter() });
    digest = loaded.digest;
  } catch (error) {
    if (!isEdgeDitError(error)) throw new Error(`a load ended with an error of no type: ${error}`, { cause: error });
    end = error.code;
  }
  const ms = performance.now() - start;
  const found = expected.truth.get(await bench.digest());
  if (found === undefined) throw new Error(`wrong bytes in wasm memory after a load that ended with ${end}`);
  if (end === 'whole' && found !== digest)
    throw new Error('a load was whole, and its memory is not that of its manifest');
  const sizes = new Map(
    expected.versions.flatMap(({ objects }) => [...objects].map(([key, { length }]) => [key, length])),
  );
  const entries = [...read];
  return {
    end,
    ms,
    readBytes: entries.reduce((sum, [, bytes]) => sum + bytes, 0),
    rereadBytes: entries.reduce((sum, [key, bytes]) => sum + Math.max(0, bytes - (sizes.get(key) ?? 0)), 0),
  };
}

/** Counts the bytes of bodies, by key. */
function counting(store: Store): { store: Store; read: Map<string, number> } {
  const read = new Map<string, number>();
  const get: Store['get'] = async (key, options) => {
    const stored = await store.get(key, options);
    if (stored === undefined) return undefined;
    const count = new TransformStream<Uint8Array, Uint8Array>({
      transform(chunk, controller) {
        read.set(key, (read.get(key) ?? 0) + chunk.length);
        controller.enqueue(chunk);
      },
    });
    return { ...stored, body: stored.body.pipeThrough(count) };
  };
  return { read, store: { name: store.name, get, keep: store.keep?.bind(store) } };
}
