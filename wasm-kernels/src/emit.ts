/** Writes the kernel modules beside the compiled code: `npm run build` runs it. */
import { writeFileSync } from 'node:fs';
import { assembleKernels } from './assemble.ts';
import { VARIANTS } from './kernels/index.ts';

for (const variant of VARIANTS) {
  writeFileSync(new URL(`kernels.${variant}.wasm`, import.meta.url), assembleKernels(variant));
}
