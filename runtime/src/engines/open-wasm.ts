/** Picks the kernel variant for this host: the fastest that it can compile and that passes the self-test. */
import { instantiateKernels, type KernelModules, supportedVariants, type Variant } from '@edge-dit/wasm-kernels';
import { EdgeDitError } from '../errors.ts';
import type { Meter } from '../meter.ts';
import type { Engine } from './engine.ts';
import { selfTest } from './self-test.ts';
import { WasmEngine } from './wasm.ts';
import { WasmMemory } from './wasm-memory.ts';

export interface OpenedEngine {
  readonly engine: Engine;
  /** Why faster variants were passed over. */
  readonly notes: readonly string[];
  /** Gives its bytes back to the meter; the engine is of no use then. */
  close(): void;
}

export async function openWasmEngine(modules: KernelModules, meter: Meter, only?: Variant): Promise<OpenedEngine> {
  const notes: string[] = [];
  const supported = supportedVariants();
  for (const variant of only ? [only] : (['relaxed', 'simd'] as const)) {
    const module = modules[variant];
    if (!supported.includes(variant)) notes.push(`${variant}: this host cannot compile it`);
    else if (module === undefined) notes.push(`${variant}: not shipped`);
    else {
      const memory = new WasmMemory(meter);
      const engine = new WasmEngine(instantiateKernels(modules.float, module, memory.memory, variant), memory);
      const failure = await selfTest(engine);
      if (failure === undefined) return { engine, notes, close: () => memory.dispose() };
      memory.dispose();
      notes.push(`${variant}: failed its self-test (${failure})`);
    }
  }
  throw new EdgeDitError(
    'engine-unavailable',
    `no kernel variant runs here: ${notes.join('; ')}. WebAssembly SIMD is the least that edge-dit needs.`,
  );
}
