/** One thread of `textAgreement`: the float network in an engine; a picture and captions in, an error for each out. */
import { workerData } from 'node:worker_threads';
import { openWasmEngine } from '@edge-dit/runtime/engines/open-wasm';
import { EdgeDitError } from '@edge-dit/runtime/errors';
import { Meter } from '@edge-dit/runtime/meter';
import { gaussianNoise, noiseStream } from '@edge-dit/runtime/noise';
import { combine, predictedSample } from '@edge-dit/runtime/samplers/prediction';
import type { TextEmbedding } from '@edge-dit/runtime/text/conditioning';
import { compileKernels } from '@edge-dit/wasm-kernels/assemble';
import { z } from 'zod';
import { openCheckpoint } from '../checkpoint/checkpoint.ts';
import { loadFloatModel } from '../float-model.ts';
import { serveJobs } from '../threads/serve-jobs.ts';
import { type PictureValues, shown } from './picture-values.ts';

export interface AgreementSetting {
  /** Path of the float network's checkpoint. */
  readonly checkpoint: string;
  /** One row each. */
  readonly embeddings: readonly TextEmbedding[];
  /** Shares of noise: x_s = (1 - s) x + s noise. */
  readonly levels: readonly number[];
  readonly draws: number;
}

export interface AgreementJob extends PictureValues {
  /** Indices of embeddings. */
  readonly candidates: readonly number[];
}

/** A float network and the activations of a few rows. */
const MEMORY_BYTES = 2 ** 31;
/** Of the noises, which no seed of a request repeats by design: requests are asked with small ones. */
const SEED = 0x7e47;

const flowSchema = z.object({
  _class_name: z.literal('FlowMatchEulerDiscreteScheduler'),
  num_train_timesteps: z.number().default(1000),
  prediction_type: z.enum(['flow', 'flow_prediction', 'sample']).default('flow'),
});

const { checkpoint: path, embeddings, levels, draws } = workerData as AgreementSetting;
const judge = openJudge();

async function openJudge() {
  const checkpoint = await openCheckpoint(path);
  try {
    const process = flowSchema.safeParse(checkpoint.schedulerConfig);
    if (!process.success) {
      const message = `text agreement needs a rectified flow (FlowMatchEulerDiscreteScheduler); checkpoint "${path}" has ${checkpoint.schedulerConfig?._class_name ?? 'no scheduler'}.`;
      throw new EdgeDitError('config-unsupported', message);
    }
    const { engine } = await openWasmEngine(await compileKernels(), new Meter(MEMORY_BYTES));
    return { engine, process: process.data, ...(await loadFloatModel(checkpoint, engine)) };
  } finally {
    await checkpoint.close();
  }
}

serveJobs(async ({ values, width, height, candidates }: AgreementJob): Promise<number[]> => {
  const { engine, process, transformer, architecture } = await judge;
  const { inChannels, outChannels, conditioning } = architecture.geometry;
  const size = inChannels * width * height;
  if (conditioning.kind !== 'text' || values.length !== size || outChannels !== inChannels) {
    const message = `text agreement needs a network of texts over ${values.length / (width * height)} channels of pixels; "${path}" is not one.`;
    throw new EdgeDitError('config-unsupported', message);
  }
  const type = process.prediction_type === 'sample' ? 'sample' : 'flow';
  const picture = values.map(shown);
  const batch = candidates.length;
  const timesteps = levels.map((level) => Math.fround(level * process.num_train_timesteps));
  const text = joinRows(candidates.map((index) => embeddings[index]));
  const sums = candidates.map(() => 0);
  const mark = engine.mark();
  try {
    const sizes = conditioning.microConditions ? microConditions(batch, height, width) : {};
    const session = transformer.begin({ batch, frames: 1, height, width, text, ...sizes }, timesteps);
    for (const [i, level] of levels.entries()) {
      for (let draw = 0; draw < draws; draw++) {
        const noise = gaussianNoise(SEED, noiseStream(i, draw), size);
        const noisy = combine(1 - level, picture, level, noise);
        const input = new Float32Array(batch * size);
        for (let row = 0; row < batch; row++) input.set(noisy, row * size);
        const output = await session.forward(input, new Float32Array(batch).fill(timesteps[i]));
        for (let row = 0; row < batch; row++) {
          const restored = predictedSample(
            type,
            output.subarray(row * size, (row + 1) * size),
            noisy,
            1 - level,
            level,
          );
          const error = restored.reduce((sum, value, at) => sum + (value - picture[at]) ** 2, 0);
          sums[row] += error / (size * draws * levels.length);
        }
      }
    }
  } finally {
    engine.release(mark);
  }
  return sums;
});

/** A picture of its own size, as requests ask for it. */
function microConditions(batch: number, height: number, width: number) {
  const resolution = Float32Array.from({ length: 2 * batch }, (_, i) => (i % 2 === 0 ? height : width));
  return { resolution, aspectRatio: new Float32Array(batch).fill(height / width) };
}

function joinRows(rows: readonly TextEmbedding[]): TextEmbedding {
  const [{ tokens, channels }] = rows;
  const data = new Float32Array(rows.length * tokens * channels);
  const mask = new Int32Array(rows.length * tokens);
  rows.forEach((row, i) => {
    data.set(row.data, i * tokens * channels);
    mask.set(row.mask, i * tokens);
  });
  return { count: rows.length, tokens, channels, data, mask };
}
