/** The ceilings of this host as cases: nothing but the product instruction on registers. */
import { CEILING_BYTES, type CeilingName, ceilingMacs } from '@edge-dit/wasm-kernels/bench/dot-ceiling';
import type { BenchHost } from './bench-host.ts';
import type { Case } from './interleave.ts';

/** About a millisecond of work. */
const ITERATIONS = 100_000;
/** Small enough that no sum overflows into infinity or dies away in denormal numbers within a sample. */
const START = 1e-3;

export function ceilingCases({ ceilings }: BenchHost): (Case & { readonly macs: number })[] {
  const module = ceilings.relaxed ?? ceilings.simd;
  if (module === undefined) return [];
  const memory = new WebAssembly.Memory({ initial: 1 });
  const functions = new WebAssembly.Instance(module, { env: { memory } }).exports;
  return Object.entries(functions).map(([name, run]) => ({
    name: `ceiling/${name}`,
    macs: ITERATIONS * ceilingMacs(name as CeilingName),
    run: () => {
      new Float32Array(memory.buffer, 0, CEILING_BYTES / 4).fill(START);
      (run as (iterations: number, at: number) => void)(ITERATIONS, 0);
    },
  }));
}
