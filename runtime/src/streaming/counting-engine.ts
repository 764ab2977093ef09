/**
 * The engine of the edge without its memory: it runs the same code, allocates addresses only, and counts bytes and products.
 * So a plan is not a second description of what the engine does, which would be wrong sooner or later.
 */
import type { Kernels } from '@edge-dit/wasm-kernels';
import type { Tensor } from '../engines/engine.ts';
import { WasmEngine } from '../engines/wasm.ts';
import { type Region, WasmMemory } from '../engines/wasm-memory.ts';
import { Meter } from '../meter.ts';

/** Multiplications with an addition. */
export interface Products {
  /** Of codes, in integers. */
  codes: number;
  floats: number;
}

const NOTHING = new Float32Array(0);

/** Addresses as `WasmMemory` gives them; all of them lead to the same few bytes, whose values mean nothing. */
class CountingMemory extends WasmMemory {
  /** The highest address that was asked for. */
  peak = 0;
  /** The last region. */
  reserved: Region = { at: 0, end: 0, top: 0 };
  #scratch = new ArrayBuffer(0);

  constructor() {
    super(new Meter(Number.POSITIVE_INFINITY));
  }

  protected override ensure(bytes: number): void {
    this.peak = Math.max(this.peak, bytes);
  }

  /** Without an end: how much is allocated in it is the question. */
  override reserve(): Region {
    this.reserved = { at: 0, end: Number.POSITIVE_INFINITY, top: 0 };
    return this.reserved;
  }

  /** Only the length is asked for. */
  override place({ length }: Uint8Array): number {
    return this.allocate(length);
  }

  override u8(_at: number, length: number): Uint8Array {
    return new Uint8Array(this.#room(length), 0, length);
  }

  override f32(_at: number, length: number): Float32Array {
    return new Float32Array(this.#room(4 * length), 0, length);
  }

  override i32(_at: number, length: number): Int32Array {
    return new Int32Array(this.#room(4 * length), 0, length);
  }

  #room(bytes: number): ArrayBuffer {
    if (this.#scratch.byteLength < bytes) this.#scratch = new ArrayBuffer(2 * bytes);
    return this.#scratch;
  }
}

export class CountingEngine extends WasmEngine {
  readonly products: Products;
  readonly #memory: CountingMemory;

  constructor() {
    const products = { codes: 0, floats: 0 };
    const memory = new CountingMemory();
    super(countingKernels(products), memory);
    this.products = products;
    this.#memory = memory;
  }

  /** The most bytes since `forget`, with those that kernels may read beyond an activation. */
  get peak(): number {
    return this.#memory.peak;
  }

  forget(): void {
    this.#memory.peak = 0;
    this.products.codes = 0;
    this.products.floats = 0;
  }

  /** Values are not looked at. */
  override input(_values: Float32Array, shape: readonly number[]): Tensor {
    return super.input(NOTHING, shape);
  }

  /** Bytes of a place for what `make` makes. */
  placeBytes(make: () => void): number {
    this.place(0).fill(make);
    return this.#memory.reserved.top;
  }
}

/** Kernels that compute nothing. Products are counted where they are made: M, N and K come first, K of codes in fours. */
function countingKernels(products: Products): Kernels {
  return new Proxy({ variant: 'relaxed', form: 'signed' } as unknown as Kernels, {
    get(target, name: string) {
      if (name in target) return target[name as keyof Kernels];
      return (m: number, n: number, k: number) => {
        if (name.startsWith('linear_')) products.codes += m * n * 4 * k;
        else if (name === 'gemm_f32') products.floats += m * n * k;
      };
    },
  });
}
