/** Kernel modules as bytes, made where they are needed: at build time for bundles, at run time where hosts allow it. */
import { assembleModule } from './asm/function.ts';
import { kernelsOf, type Variant } from './kernels/index.ts';
import { supportedVariants } from './load.ts';

export function assembleKernels(variant: Variant): Uint8Array<ArrayBuffer> {
  return assembleModule(kernelsOf(variant));
}

/** Assembles and compiles every variant that this host supports. Hosts that forbid code generation import the files instead. */
export async function compileKernels(): Promise<Partial<Record<Variant, WebAssembly.Module>>> {
  const variants = supportedVariants();
  const modules = await Promise.all(variants.map((variant) => WebAssembly.compile(assembleKernels(variant))));
  return Object.fromEntries(variants.map((variant, index) => [variant, modules[index]]));
}
