/** Writes the kernel modules, and those that benchmarks measure them by, beside the compiled code: `npm run build` runs it. */
import { writeFileSync } from 'node:fs';
import { assembleKernels } from './assemble.ts';
import { assembleCeiling } from './bench/dot-ceiling.ts';
import { MODULES, VARIANTS } from './kernels/index.ts';

const write = (name: string, module: Uint8Array) => writeFileSync(new URL(`${name}.wasm`, import.meta.url), module);

// Bundles carry these: without the names that only profilers read.
for (const name of MODULES) write(`kernels.${name}`, assembleKernels(name, { names: false }));
for (const variant of VARIANTS) write(`bench/ceiling.${variant}`, assembleCeiling(variant));
