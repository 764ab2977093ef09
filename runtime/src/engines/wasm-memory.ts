/**
 * One WebAssembly memory as a stack: weights first, activations above them. Addresses are 64-byte aligned. Growth is
 * taken from the meter before it happens, and some room is always kept above the top, because kernels read (never
 * write) a few rows past the end of an activation.
 */
import { EdgeDitError } from '../errors.ts';
import type { Meter } from '../meter.ts';

const PAGE_BYTES = 65536;
/** Six rows of the widest activation that kernels may read past the end: 6 x 18,432 channels of float32. */
export const READ_AHEAD_BYTES = 6 * 18432 * 4;
const MAX_PAGES = 65536;
const ALIGNMENT = 64;

export class WasmMemory {
  readonly memory: WebAssembly.Memory;
  readonly #meter: Meter;
  /** What gives the taken bytes back to the meter, one for each growth. */
  readonly #held: (() => void)[] = [];
  #top = ALIGNMENT * 4;

  /** @param shared for modules that several threads run */
  constructor(meter: Meter, shared = false) {
    this.#meter = meter;
    this.#held.push(meter.take('wasm memory', PAGE_BYTES));
    this.memory = new WebAssembly.Memory({ initial: 1, maximum: MAX_PAGES, shared });
  }

  get bytes(): number {
    return this.memory.buffer.byteLength;
  }

  get top(): number {
    return this.#top;
  }

  allocate(bytes: number): number {
    const at = this.#top;
    const top = Math.ceil((at + bytes) / ALIGNMENT) * ALIGNMENT;
    const missing = top + READ_AHEAD_BYTES - this.bytes;
    if (missing > 0) this.#grow(Math.ceil(missing / PAGE_BYTES));
    this.#top = top;
    return at;
  }

  /** Allocates a copy. */
  place(bytes: Uint8Array): number {
    const at = this.allocate(bytes.length);
    this.u8(at, bytes.length).set(bytes);
    return at;
  }

  release(top: number): void {
    this.#top = top;
  }

  u8(at: number, length: number): Uint8Array {
    return new Uint8Array(this.memory.buffer, at, length);
  }

  f32(at: number, length: number): Float32Array {
    return new Float32Array(this.memory.buffer, at, length);
  }

  i32(at: number, length: number): Int32Array {
    return new Int32Array(this.memory.buffer, at, length);
  }

  /** Gives the bytes back to the meter; the memory itself goes with its last reference. */
  dispose(): void {
    for (const giveBack of this.#held.splice(0)) giveBack();
  }

  #grow(pages: number): void {
    const giveBack = this.#meter.take('wasm memory', pages * PAGE_BYTES);
    try {
      this.memory.grow(pages);
      this.#held.push(giveBack);
    } catch (cause) {
      giveBack();
      throw new EdgeDitError(
        'memory-exceeded',
        `the host refused ${pages} more pages of wasm memory beside ${this.bytes} bytes.`,
        {
          cause,
        },
      );
    }
  }
}
