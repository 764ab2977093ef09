/**
 * onnxruntime-web without anything of ours around it: sessions and tensors of its own, so that what is measured is what
 * its users get. The host's `OnnxRuntime` starts the engine; from then on there is one in the isolate.
 */
import type { OnnxRuntime } from '@edge-dit/runtime/onnx/onnx-runtime';
import { writeOnnxModel } from '@edge-dit/runtime/onnx/onnx-writer';
import type { InferenceSession, Tensor } from 'onnxruntime-web/wasm';

export interface OrtModel {
  readonly inputs: readonly string[];
  /** Values of the first output; they are onnxruntime's, and may be written over by the next run. */
  run(): Promise<Float32Array>;
  /** Frees the model inside the engine. */
  release(): Promise<void>;
}

/** Element types of onnxruntime's tensors that networks take. */
export type Feed = readonly [
  type: 'float32' | 'int64' | 'int32' | 'bool',
  data: Float32Array | BigInt64Array | Int32Array | Uint8Array,
  dims: readonly number[],
];

export async function openOrtModel(
  runtime: OnnxRuntime,
  bytes: Uint8Array,
  feedsOf: (inputs: readonly string[]) => Readonly<Record<string, Feed>>,
): Promise<OrtModel> {
  await start(runtime);
  const ort = await import('onnxruntime-web/wasm');
  const session: InferenceSession = await ort.InferenceSession.create(bytes, { executionProviders: ['wasm'] });
  const feeds: Record<string, Tensor> = {};
  for (const [name, [type, data, dims]] of Object.entries(feedsOf(session.inputNames))) {
    feeds[name] = new ort.Tensor(type, data as never, dims);
  }
  return {
    inputs: session.inputNames,
    run: async () => (await session.run(feeds))[session.outputNames[0]].data as Float32Array,
    release: () => session.release(),
  };
}

const started = new WeakSet<OnnxRuntime>();

async function start(runtime: OnnxRuntime): Promise<void> {
  if (started.has(runtime)) return;
  const dims = [1];
  const identity = writeOnnxModel({
    name: 'identity',
    inputs: [{ name: 'x', type: 'float32', dims }],
    outputs: [{ name: 'y', type: 'float32', dims }],
    constants: [],
    nodes: [{ op: 'Identity', inputs: ['x'], outputs: ['y'] }],
  });
  await (await runtime.load(identity, 'the first model of the benchmark')).release();
  started.add(runtime);
}
