/** One thread of `generatePictures`: takes requests for published models, answers with values. Holds one model at a time. */
import { EdgeDitError, isEdgeDitError } from '@edge-dit/runtime/errors';
import { Meter } from '@edge-dit/runtime/meter';
import { createNodeOrtRuntime } from '@edge-dit/runtime/onnx/ort-node';
import { type Generated, type GenerateRequest, Pipeline } from '@edge-dit/runtime/pipeline';
import { compileKernels } from '@edge-dit/wasm-kernels/assemble';
import { openStore } from '../stores.ts';
import { serveJobs } from '../threads/serve-jobs.ts';

export interface PictureJob {
  /** Where the model is published, as `openStore` takes it. */
  readonly place: string;
  readonly model: string;
  /** Of the manifest that is meant; any, where it is not given. */
  readonly digest?: string;
  readonly request: GenerateRequest;
}

export interface GeneratedPicture extends Pick<Generated, 'width' | 'height' | 'values' | 'steps' | 'timings'> {
  readonly engine: string;
  /** The most bytes that the model held at once so far, by the runtime's meter. */
  readonly peakBytes: number;
}

/** For a float32 network, its activations and the text encoder on a developer's machine. */
const MEMORY_BYTES = 4 * 2 ** 30 - 2 ** 16;

const kernels = compileKernels();
let held: { readonly key: string; readonly pipeline: Pipeline } | undefined;

async function open({ place, model, digest }: PictureJob): Promise<Pipeline> {
  const key = `${place}#${model}`;
  if (held?.key !== key) {
    await held?.pipeline.close();
    held = undefined;
    const [store, meter] = [openStore(place), new Meter(MEMORY_BYTES)];
    const onnx = createNodeOrtRuntime;
    held = { key, pipeline: await Pipeline.open({ store, model, kernels: await kernels, meter, onnx }) };
  }
  if (digest !== undefined && held.pipeline.digest !== digest) {
    throw new EdgeDitError(
      'precondition-failed',
      `its manifest was ${digest} and is ${held.pipeline.digest} now: it was published anew; start again.`,
    );
  }
  return held.pipeline;
}

serveJobs(async (job: PictureJob): Promise<GeneratedPicture> => {
  try {
    const pipeline = await open(job);
    const { width, height, values, steps, timings } = await pipeline.generate(job.request);
    const { engine, meter } = pipeline;
    return { width, height, values, steps, timings, engine: engine!.name, peakBytes: meter.peak };
  } catch (error) {
    if (!isEdgeDitError(error)) throw error;
    throw new EdgeDitError(error.code, `${job.model}: ${error.message}`, { cause: error });
  }
});
