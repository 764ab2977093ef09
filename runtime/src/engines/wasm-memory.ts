/**
 * One WebAssembly memory as a stack: weights first, activations above them. Addresses are 64-byte aligned. Growth is
 * taken from the meter before it happens, and some room is always kept above the top, because kernels read (never
 * write) a few rows past the end of an activation. Parts of the stack can be set aside as regions, to be filled later
 * and again.
 */
import { EdgeDitError } from '../errors.ts';
import type { Meter } from '../meter.ts';

const PAGE_BYTES = 65536;
/** Six rows of the widest activation that kernels may read past the end: 6 x 18,432 channels of float32. */
export const READ_AHEAD_BYTES = 6 * 18432 * 4;
const MAX_PAGES = 65536;
const ALIGNMENT = 64;

/** A part of the memory in which allocations are made one after another. */
export interface Region {
  readonly at: number;
  readonly end: number;
  /** The next address. */
  top: number;
}

export class WasmMemory {
  readonly memory: WebAssembly.Memory;
  readonly #meter: Meter;
  /** What gives the taken bytes back to the meter, one for each growth. */
  readonly #held: (() => void)[] = [];
  #top = ALIGNMENT * 4;
  /** Where allocations are made instead of the stack. */
  #region: Region | undefined;

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
    const region = this.#region;
    const at = region?.top ?? this.#top;
    const top = Math.ceil((at + bytes) / ALIGNMENT) * ALIGNMENT;
    if (region === undefined) {
      this.ensure(top + READ_AHEAD_BYTES);
      this.#top = top;
    } else {
      if (top > region.end) {
        const message = `a place of ${region.end - region.at} bytes is full: ${bytes} more do not fit`;
        throw new EdgeDitError('internal', message);
      }
      region.top = top;
    }
    return at;
  }

  /** Sets bytes of the stack aside. */
  reserve(bytes: number): Region {
    const at = this.allocate(bytes);
    return { at, end: this.#top, top: at };
  }

  /** Allocations that `make` makes lie in the region. */
  within<T>(region: Region, make: () => T): T {
    return this.#elsewhere(region, make);
  }

  /** Allocations that `use` makes lie on the stack, and are given back at its end. */
  scratch<T>(use: () => T): T {
    const top = this.#top;
    try {
      return this.#elsewhere(undefined, use);
    } finally {
      this.#top = top;
    }
  }

  #elsewhere<T>(region: Region | undefined, run: () => T): T {
    const before = this.#region;
    this.#region = region;
    try {
      return run();
    } finally {
      this.#region = before;
    }
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

  /** Grows the memory to `bytes` at least. */
  protected ensure(bytes: number): void {
    const missing = bytes - this.bytes;
    if (missing <= 0) return;
    const pages = Math.ceil(missing / PAGE_BYTES);
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
