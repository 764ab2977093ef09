/** Kernel modules as bytes, made where they are needed: at build time for bundles, at run time where hosts allow it. */
import { assembleModule, type ModuleOptions } from './asm/function.ts';
import { importsOf, kernelsOf, type ModuleName } from './kernels/index.ts';
import { type KernelModules, supportedVariants } from './load.ts';

export function assembleKernels(module: ModuleName, options?: ModuleOptions): Uint8Array<ArrayBuffer> {
  return assembleModule(kernelsOf(module), { ...options, imports: importsOf(module) });
}

/**
 * Assembles and compiles what this host supports. Hosts that forbid code generation import the files instead. Engines
 * with threads need modules over a shared memory.
 */
export async function compileKernels(options?: ModuleOptions): Promise<KernelModules> {
  const names = ['float', ...supportedVariants()] as const;
  const modules = await Promise.all(names.map((name) => WebAssembly.compile(assembleKernels(name, options))));
  return Object.fromEntries(names.map((name, index) => [name, modules[index]])) as unknown as KernelModules;
}
