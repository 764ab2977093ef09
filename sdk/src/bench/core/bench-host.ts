/** What the measuring code is given by the place where it runs. Web APIs only from here on down. */

import type { OnnxRuntime } from '@edge-dit/runtime/onnx/onnx-runtime';
import type { KernelModules, Variant } from '@edge-dit/wasm-kernels';
import type { SpawnThread } from '@edge-dit/wasm-kernels/threads/threaded-kernels';

export interface BenchHost {
  readonly kernels: KernelModules;
  /** The modules of wasm-kernels/src/bench/dot-ceiling.ts. */
  readonly ceilings: { readonly [V in Variant]?: WebAssembly.Module };
  /** onnxruntime-web, configured for this host. */
  readonly onnx: OnnxRuntime;
  /** How it starts threads, and modules over a memory that they share. */
  readonly threads?: { readonly spawn: SpawnThread; readonly kernels: KernelModules };
}

/** A wasm memory may have 4 GiB; benchmarks hold several networks and are not on the edge. */
export const MEMORY_BYTES = 16 * 2 ** 30;
