/** The endpoint in Node: kernels are assembled and compiled at start, onnxruntime-web runs the auxiliary models. */
import { DEFAULT_BUDGET_BYTES, Meter } from '@edge-dit/runtime/meter';
import { createNodeOrtRuntime } from '@edge-dit/runtime/onnx/ort-node';
import { compileKernels } from '@edge-dit/wasm-kernels/assemble';
import { createApp } from '../app.ts';
import { listen, type Served } from '../listen.ts';
import { ModelHost } from '../model-host.ts';
import type { ServeOptions, Target } from './target.ts';

/** @throws EdgeDitError `invalid-argument` for limits, models or an address that are not acceptable */
export async function serveNode(options: ServeOptions): Promise<Served> {
  const { store, models, trust, limits, memoryLimitMb } = options;
  const budget = memoryLimitMb === undefined ? DEFAULT_BUDGET_BYTES : memoryLimitMb * 2 ** 20;
  const host = new ModelHost({
    models,
    meter: new Meter(budget),
    pipeline: { store, trust, kernels: await compileKernels(), onnx: createNodeOrtRuntime },
  });
  const served = await listen(createApp({ models: host, limits }).fetch, options);
  const close = async () => {
    await served.close();
    await host.close();
  };
  return { ...served, close };
}

export const node: Target = { name: 'node', summary: 'a server of Node', serve: serveNode };
