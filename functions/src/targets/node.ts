/** The endpoint in Node: kernels are assembled and compiled at start, onnxruntime-web runs the auxiliary models. */
import { DEFAULT_BUDGET_BYTES, Meter } from '@edge-dit/runtime/meter';
import { createNodeOrtRuntime } from '@edge-dit/runtime/onnx/ort-node';
import { compileKernels } from '@edge-dit/wasm-kernels/assemble';
import { listen, type Served } from '../listen.ts';
import { ModelHost } from '../model-host.ts';
import { consoleLog } from '../observe/log.ts';
import { openServerEndpoint } from '../server-endpoint.ts';
import type { ServeOptions, Target } from './target.ts';

/** @throws EdgeDitError `invalid-argument` for limits, models or an address that are not acceptable */
export async function serveNode(options: ServeOptions): Promise<Served> {
  const { store, models, trust, limits, memoryLimitMb, keys, cors, webhooks, jobsFolder } = options;
  const budget = memoryLimitMb === undefined ? DEFAULT_BUDGET_BYTES : memoryLimitMb * 2 ** 20;
  const host = new ModelHost({
    models,
    meter: new Meter(budget),
    pipeline: { store, trust, kernels: await compileKernels(), onnx: createNodeOrtRuntime },
  });
  const log = consoleLog(options.logLevel ?? 'warn');
  const endpoint = await openServerEndpoint({ models: host, limits, keys, cors, webhooks, jobsFolder, log });
  try {
    const served = await listen(endpoint.fetch, options);
    const close = async () => {
      await served.close();
      await endpoint.close();
    };
    return { ...served, close };
  } catch (error) {
    await endpoint.close();
    throw error;
  }
}

export const node: Target = { name: 'node', summary: 'a server of Node', serve: serveNode };
