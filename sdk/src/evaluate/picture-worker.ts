/** One thread of `generatePictures`: takes requests for models of one store, answers with values. */
import { parentPort, workerData } from 'node:worker_threads';
import { Meter } from '@edge-dit/runtime/meter';
import { createNodeOrtRuntime } from '@edge-dit/runtime/onnx/ort-node';
import { type GenerateRequest, Pipeline } from '@edge-dit/runtime/pipeline';
import { compileKernels } from '@edge-dit/wasm-kernels/assemble';
import { openStore } from '../stores.ts';

export interface PictureJob {
  readonly model: string;
  readonly request: GenerateRequest;
}

const { store: place, memoryBytes } = workerData as { store: string; memoryBytes: number };
const pipelines = new Map<string, Promise<Pipeline>>();

function open(model: string): Promise<Pipeline> {
  const opened =
    pipelines.get(model) ??
    compileKernels().then((kernels) =>
      Pipeline.open({
        store: openStore(place),
        model,
        kernels,
        meter: new Meter(memoryBytes),
        onnx: createNodeOrtRuntime,
      }),
    );
  pipelines.set(model, opened);
  return opened;
}

parentPort!.on('message', async ({ model, request }: PictureJob) => {
  try {
    const { width, height, rgb, values } = await (await open(model)).generate(request);
    parentPort!.postMessage({ width, height, rgb, values });
  } catch (error) {
    parentPort!.postMessage({ error });
  }
});
