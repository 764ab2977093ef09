/** Writes the kernel modules, and those that benchmarks measure them by, beside the compiled code: `npm run build` runs it. */
import { writeFileSync } from 'node:fs';
import { assembleKernels } from './assemble.ts';
import { assembleCeiling } from './bench/dot-ceiling.ts';
import { VARIANTS } from './kernels/index.ts';

for (const variant of VARIANTS) {
  writeFileSync(new URL(`kernels.${variant}.wasm`, import.meta.url), assembleKernels(variant));
  writeFileSync(new URL(`bench/ceiling.${variant}.wasm`, import.meta.url), assembleCeiling(variant));
}
