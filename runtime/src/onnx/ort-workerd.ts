/**
 * onnxruntime-web in a V8 isolate that refuses to compile WebAssembly (workerd). The worker imports
 * `onnxruntime-web/ort-wasm-simd-threaded.wasm` as a module of its bundle and passes it in; onnxruntime is told that
 * it has the bytes already, and gets an instance of that module when it instantiates them.
 * Needs the compatibility flag `nodejs_compat` and `import.meta.url` defined as a file URL by the bundler.
 */
import type { Meter } from '../meter.ts';
import type { OnnxRuntime } from './onnx-runtime.ts';
import { createOrtRuntime } from './ort-web.ts';

/** @param loadModule called once, when the engine starts; usually `async () => (await import('….wasm')).default` */
export function createWorkerdOrtRuntime(loadModule: () => Promise<WebAssembly.Module>, meter?: Meter): OnnxRuntime {
  return createOrtRuntime(
    {
      configure: (wasm) => {
        // Stands for the bytes: with any at hand onnxruntime neither fetches nor resolves a path.
        wasm.wasmBinary = new Uint8Array(8);
      },
      instantiate: async (_source, imports) => {
        const module = await loadModule();
        return { module, instance: new WebAssembly.Instance(module, imports) };
      },
    },
    meter,
  );
}
