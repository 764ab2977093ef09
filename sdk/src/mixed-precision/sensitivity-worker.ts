/** One thread of the measurements: holds the network in float32, takes a layer's stored weight, answers with its errors. */
import { workerData } from 'node:worker_threads';
import type { Engine, Linear } from '@edge-dit/runtime/engines/engine';
import type { Conditions, LinearSpec } from '@edge-dit/runtime/models/architecture';
import { hadamardRotate } from '@edge-dit/runtime/rotation';
import { serveJobs } from '../threads/serve-jobs.ts';
import { openFloatNetwork } from './float-network.ts';
import { type Answer, answerOf, type Errors, errorsOf, type Lesson } from './lessons.ts';
import { storedWeight, type WeightToStore } from './stored-weight.ts';

/** What is the same for all layers. */
export interface SensitivityThread {
  /** Of the checkpoint. */
  readonly path: string;
  readonly guidance: number;
  /** Timesteps of all steps. */
  readonly schedule: readonly number[];
  readonly conditions: readonly { readonly conditions: Conditions; readonly lessons: readonly Lesson[] }[];
  /** Of the steps. */
  readonly gains: readonly number[];
}

export interface SensitivityJob {
  readonly layer: string;
  readonly toStore: WeightToStore;
}

const { path, guidance, schedule, conditions, gains } = workerData as SensitivityThread;
const lessons = conditions.flatMap((of) => of.lessons);
let opened: ReturnType<typeof openFloatNetwork> | undefined;

/** The layer in float, as the stored weight would have it. */
async function linearOf(engine: Engine, spec: LinearSpec, toStore: WeightToStore): Promise<Linear> {
  const { outFeatures, inFeatures } = spec;
  const { bias, transform } = toStore;
  const { balance, rotation } = transform;
  let weight: Float32Array = storedWeight(spec, toStore);
  if (rotation) {
    // Rows x of the weight were multiplied by an orthogonal matrix, whose inverse is its transpose: a layer's x W^T.
    const matrix = new Float32Array(inFeatures * inFeatures);
    for (let k = 0; k < inFeatures; k++) matrix[k * inFeatures + k] = 1;
    hadamardRotate(inFeatures, inFeatures, matrix, rotation, spec.name);
    const mark = engine.mark();
    const inverse = engine.linear({ kind: 'float', weight: matrix, outFeatures: inFeatures, inFeatures });
    const rows = engine.operand(engine.input(weight, [outFeatures, inFeatures]));
    weight = await engine.read(engine.apply(inverse, rows));
    engine.release(mark);
  }
  if (balance) weight = weight.map((value, i) => value * balance[i % inFeatures]);
  return engine.linear({ kind: 'float', weight, bias, outFeatures, inFeatures });
}

serveJobs(async ({ layer, toStore }: SensitivityJob): Promise<Errors> => {
  const network = await (opened ??= openFloatNetwork(path));
  const { engine, model } = network;
  const mark = engine.mark();
  try {
    const spec = model.architecture.linears.find(({ name }) => name === layer)!;
    const transformer = network.with(new Map([[layer, await linearOf(engine, spec, toStore)]]));
    const answers: Answer[] = [];
    for (const of of conditions) {
      const above = engine.mark();
      const session = transformer.begin(of.conditions, schedule);
      for (const { sample, timestep } of of.lessons) {
        answers.push(await answerOf(session, sample, timestep, guidance));
      }
      engine.release(above);
    }
    return errorsOf(answers, lessons, gains);
  } finally {
    engine.release(mark);
  }
});
