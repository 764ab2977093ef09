/** Picks the kernel variant for this host: the fastest that it can compile and that passes the self-test. */
import {
  instantiateKernels,
  type KernelModules,
  type Kernels,
  supportedVariants,
  type Variant,
} from '@edge-dit/wasm-kernels';
import { EdgeDitError } from '../errors.ts';
import type { Meter } from '../meter.ts';
import type { Engine } from './engine.ts';
import { selfTest } from './self-test.ts';
import { WasmEngine } from './wasm.ts';
import { WasmMemory } from './wasm-memory.ts';

export interface OpenedEngine {
  readonly engine: Engine;
  /** Its name among those that `chooseEngine` chose from. */
  readonly kind?: string;
  /** Why this one: what was measured, and why others were passed over. */
  readonly notes: readonly string[];
  /** Gives its bytes back to the meter; the engine is of no use then. */
  close(): void;
}

/** Opens an engine over kernels from these modules; `lost` are the kinds whose devices were lost, once for each time. */
export type OpenEngine = (
  modules: KernelModules,
  meter: Meter,
  only?: Variant,
  lost?: readonly string[],
) => Promise<OpenedEngine>;

export const openWasmEngine: OpenEngine = (modules, meter, only) =>
  openFastest(modules, only, async (float, linear, variant) => {
    const memory = new WasmMemory(meter);
    return { memory, kernels: instantiateKernels(float, linear, memory.memory, variant), close: () => {} };
  });

/** Kernels over a memory that holds nothing that an engine may overwrite; `close` ends what else was opened for them. */
type OpenKernels = (
  float: WebAssembly.Module,
  linear: WebAssembly.Module,
  variant: Variant,
) => Promise<{ readonly memory: WasmMemory; readonly kernels: Kernels; close(): void }>;

/** @throws `engine-unavailable` when no variant runs here, and what `open` raises */
export async function openFastest(
  modules: KernelModules,
  only: Variant | undefined,
  open: OpenKernels,
  supported: readonly Variant[] = supportedVariants(),
): Promise<OpenedEngine> {
  const notes: string[] = [];
  for (const variant of only ? [only] : (['relaxed', 'simd'] as const)) {
    const module = modules[variant];
    if (!supported.includes(variant)) notes.push(`${variant}: this host cannot compile it`);
    else if (module === undefined) notes.push(`${variant}: not shipped`);
    else {
      const { memory, kernels, ...opened } = await open(modules.float, module, variant);
      const engine = new WasmEngine(kernels, memory);
      const close = () => {
        opened.close();
        memory.dispose();
      };
      // A processor without AVX-VNNI: 4-bit layers are as fast in plain SIMD there, 8-bit ones and attention twice as fast.
      if (kernels.form === 'nibbles' && !only && modules.simd !== undefined) {
        close();
        notes.push(`${variant}: this processor takes two products for a byte beyond 127`);
        continue;
      }
      const failure = await selfTest(engine);
      if (failure === undefined) return { engine, notes, close };
      close();
      notes.push(`${variant}: failed its self-test (${failure})`);
    }
  }
  throw new EdgeDitError(
    'engine-unavailable',
    `no kernel variant runs here: ${notes.join('; ')}. WebAssembly SIMD is the least that edge-dit needs.`,
  );
}
