/**
 * The engine of the edge without its memory: it runs the same code, allocates addresses only, and counts bytes and products.
 * So a plan is not a second description of what the engine does, which would be wrong sooner or later.
 */
import { WasmEngine } from '@edge-dit/runtime/engines/wasm';
import { WasmMemory } from '@edge-dit/runtime/engines/wasm-memory';
import { Meter } from '@edge-dit/runtime/meter';
import type { Kernels } from '@edge-dit/wasm-kernels';

/** Multiplications with an addition. */
export interface Products {
  /** Of codes, in integers. */
  codes: number;
  floats: number;
}

const ALIGNMENT = 64;

/** Addresses as `WasmMemory` gives them; all of them lead to the same few bytes, whose values mean nothing. */
class CountingMemory extends WasmMemory {
  #top = super.top;
  #peak = this.#top;
  #scratch = new ArrayBuffer(0);

  constructor() {
    super(new Meter(Number.POSITIVE_INFINITY));
  }

  override get bytes(): number {
    return this.#peak;
  }

  override get top(): number {
    return this.#top;
  }

  override allocate(bytes: number): number {
    const at = this.#top;
    this.#top = Math.ceil((at + bytes) / ALIGNMENT) * ALIGNMENT;
    this.#peak = Math.max(this.#peak, this.#top);
    return at;
  }

  override release(top: number): void {
    this.#top = top;
  }

  /** From now on, `bytes` is the most since then. */
  forget(): void {
    this.#peak = this.#top;
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
    if (this.#scratch.byteLength < bytes) this.#scratch = new ArrayBuffer(2 ** Math.ceil(Math.log2(bytes)));
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

  /** The most bytes since `forget`. */
  get peak(): number {
    return this.#memory.bytes;
  }

  forget(): void {
    this.#memory.forget();
    this.products.codes = 0;
    this.products.floats = 0;
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
