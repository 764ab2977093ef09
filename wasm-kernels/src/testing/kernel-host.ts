/** Kernels over a memory of their own, for tests: what is put there, and what it holds after. */
import { assembleKernels } from '../assemble.ts';
import { instantiateKernels, type Variant } from '../load.ts';

/** A kernel instance with a bump allocator over its memory. */
export function openKernels(variant: Variant) {
  const memory = new WebAssembly.Memory({ initial: 512 });
  const module = (name: 'float' | typeof variant) => new WebAssembly.Module(assembleKernels(name));
  const kernels = instantiateKernels(module('float'), module(variant), memory, variant);
  let top = 1024;
  const take = (bytes: number) => {
    const at = top;
    top = (top + bytes + 63) & ~63;
    return at;
  };
  return {
    kernels,
    take,
    floats(data: ArrayLike<number>) {
      const at = take(4 * (data.length + 16));
      new Float32Array(memory.buffer, at).set(data);
      return at;
    },
    bytes(data: Uint8Array | Int8Array, slack = 0) {
      const at = take(data.length + slack);
      new Uint8Array(memory.buffer, at).set(new Uint8Array(data.buffer, data.byteOffset, data.length));
      return at;
    },
    ints(data: ArrayLike<number>) {
      const at = take(4 * (data.length + 16));
      new Int32Array(memory.buffer, at).set(data);
      return at;
    },
    put: (at: number, data: Float32Array) => new Float32Array(memory.buffer, at, data.length).set(data),
    readFloats: (at: number, length: number) => new Float32Array(memory.buffer, at, length).slice(),
    readInts: (at: number, length: number) => new Int32Array(memory.buffer, at, length).slice(),
    readRecords: (at: number, rows: number) =>
      Array.from({ length: rows }, (_, i) => [
        new Float32Array(memory.buffer, at + 16 * i, 1)[0],
        ...new Int32Array(memory.buffer, at + 16 * i + 4, 2),
      ]),
    readBytes: (at: number, length: number) => new Int8Array(memory.buffer, at, length).slice(),
  };
}

/** A linear congruential generator: numbers from 0 to 1. */
export function random(seed: number) {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}
