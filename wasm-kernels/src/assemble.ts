/** Kernel modules as bytes, made where they are needed: at build time for bundles, at run time where hosts allow it. */
import { assembleModule } from './asm/function.ts';
import { kernelsOf, type Variant } from './kernels/index.ts';

export function assembleKernels(variant: Variant): Uint8Array<ArrayBuffer> {
  return assembleModule(kernelsOf(variant));
}
