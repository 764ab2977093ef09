/** onnxruntime-web where WebAssembly may be compiled from bytes: Node, Deno, browsers. It finds its own module. */
import type { Meter } from '../meter.ts';
import type { OnnxRuntime } from './onnx-runtime.ts';
import { createOrtRuntime } from './ort-web.ts';

export function createNodeOrtRuntime(meter?: Meter): OnnxRuntime {
  return createOrtRuntime({}, meter);
}
