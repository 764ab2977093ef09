/** One thread of the measurements: holds the network in float32, takes a layer's stored weight, answers with what it does. */
import { workerData } from 'node:worker_threads';
import type { Engine, Linear } from '@edge-dit/runtime/engines/engine';
import { openWasmEngine } from '@edge-dit/runtime/engines/open-wasm';
import { Meter } from '@edge-dit/runtime/meter';
import type { Conditions, LinearSpec } from '@edge-dit/runtime/models/architecture';
import { hadamardRotate } from '@edge-dit/runtime/rotation';
import { compileKernels } from '@edge-dit/wasm-kernels/assemble';
import { openCheckpoint } from '../checkpoint/checkpoint.ts';
import { loadFloatModel } from '../float-model.ts';
import { serveJobs } from '../threads/serve-jobs.ts';
import { type ConditionRun, errorsOf, type Outcome, runCondition } from './run-condition.ts';
import type { StoredWeight } from './stored-weight.ts';

/** What is the same for all layers. Condition i starts from the noise of seed + i. */
export interface SensitivityThread extends Omit<ConditionRun, 'conditions'> {
  /** Of the checkpoint. */
  readonly path: string;
  readonly conditions: readonly Conditions[];
}

export interface SensitivityJob {
  readonly layer: string;
  readonly stored: StoredWeight;
}

/** Of each condition, as `OutcomeErrors`. */
export interface Errors {
  readonly picture: readonly number[];
  readonly text: readonly number[];
}

/** A float32 network and its activations on a developer's machine. */
const MEMORY_BYTES = 4 * 2 ** 30 - 2 ** 16;

const { path, conditions, seed, ...settings } = workerData as SensitivityThread;
let opened: ReturnType<typeof open> | undefined;

async function open() {
  const checkpoint = await openCheckpoint(path);
  const { engine } = await openWasmEngine(await compileKernels(), new Meter(MEMORY_BYTES));
  const model = await loadFloatModel(checkpoint, engine);
  await checkpoint.close();
  const { geometry } = model.architecture;
  const run = async (transformer: typeof model.transformer) => {
    const outcomes: Outcome[] = [];
    for (const [i, given] of conditions.entries()) {
      const network = { engine, transformer, geometry };
      outcomes.push(await runCondition({ ...settings, seed: seed + i, conditions: given }, network));
    }
    return outcomes;
  };
  return { engine, model, run, exact: await run(model.transformer) };
}

/** The layer in float, as the stored weight would have it. */
async function linearOf(engine: Engine, spec: LinearSpec, stored: StoredWeight): Promise<Linear> {
  const { outFeatures, inFeatures } = spec;
  const { balance, rotation, bias } = stored;
  let { weight } = stored;
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

serveJobs(async ({ layer, stored }: SensitivityJob): Promise<Errors> => {
  const { engine, model, run, exact } = await (opened ??= open());
  const { architecture, weights } = model;
  const mark = engine.mark();
  try {
    const spec = architecture.linears.find(({ name }) => name === layer)!;
    const changed = await linearOf(engine, spec, stored);
    const { attention } = weights;
    const transformer = architecture.build(
      {
        attention,
        linear: (name) => (name === layer ? changed : weights.linear(name)),
        table: (name) => weights.table(name),
        values: (name) => weights.values(name),
      },
      engine,
    );
    const errors = (await run(transformer)).map((outcome, i) => errorsOf(outcome, exact[i]));
    return { picture: errors.map(({ picture }) => picture), text: errors.map(({ text }) => text) };
  } finally {
    engine.release(mark);
  }
});
