/** Our engines on a host, one for each variant of the kernels that runs there. */
import { type OpenedEngine, openWasmEngine } from '@edge-dit/runtime/engines/open-wasm';
import { WasmEngine } from '@edge-dit/runtime/engines/wasm';
import { WasmMemory } from '@edge-dit/runtime/engines/wasm-memory';
import { Meter } from '@edge-dit/runtime/meter';
import { instantiateKernels, type Kernels, supportedVariants, type Variant } from '@edge-dit/wasm-kernels';
import { type BenchHost, MEMORY_BYTES } from './bench-host.ts';

/** Those that the host supports and ships, in the order in which engines prefer them: see `openFastest`. */
export function variantsOf(host: BenchHost): Variant[] {
  const shipped = supportedVariants().filter((variant) => host.kernels[variant] !== undefined);
  const slow = shipped.filter((variant) => formOf(host, variant) === 'nibbles');
  return [...shipped.filter((variant) => !slow.includes(variant)), ...slow];
}

export async function openVariant({ kernels }: BenchHost, variant?: Variant): Promise<OpenedEngine['engine']> {
  return (await openWasmEngine(kernels, new Meter(MEMORY_BYTES), variant)).engine;
}

/** The fastest engine, with its kernels replaced by what `wrap` makes of them. */
export function openWrapped(host: BenchHost, wrap: (kernels: Kernels) => Kernels): WasmEngine {
  const [variant] = variantsOf(host);
  const memory = new WasmMemory(new Meter(MEMORY_BYTES));
  return new WasmEngine(
    wrap(instantiateKernels(host.kernels.float, host.kernels[variant]!, memory.memory, variant)),
    memory,
  );
}

export function formOf({ kernels }: BenchHost, variant: Variant): string {
  return instantiateKernels(kernels.float, kernels[variant]!, new WebAssembly.Memory({ initial: 1 }), variant).form;
}
