/** One thread of a calibration: holds the network in float32, takes conditions, answers with what their layers read. */
import { workerData } from 'node:worker_threads';
import { openWasmEngine } from '@edge-dit/runtime/engines/open-wasm';
import { Meter } from '@edge-dit/runtime/meter';
import type { Conditions } from '@edge-dit/runtime/models/architecture';
import { compileKernels } from '@edge-dit/wasm-kernels/assemble';
import { openCheckpoint } from '../checkpoint/checkpoint.ts';
import { loadFloatModel } from '../float-model.ts';
import { serveJobs } from '../threads/serve-jobs.ts';
import { MomentSample } from './moment-sample.ts';
import { observeCondition } from './observe-condition.ts';
import { ObservingEngine } from './observing-engine.ts';

/** What is the same for all conditions. */
export interface CalibrationThread {
  /** Of the checkpoint. */
  readonly path: string;
  readonly schedulerConfig: Readonly<Record<string, unknown>>;
  readonly steps: number;
  readonly guidance: number;
  readonly moments: boolean;
}

export interface CalibrationJob {
  readonly index: number;
  readonly count: number;
  readonly seed: number;
  readonly conditions: Conditions;
}

/** A float32 network and its activations on a developer's machine. */
const MEMORY_BYTES = 4 * 2 ** 30 - 2 ** 16;

const { path, moments, ...settings } = workerData as CalibrationThread;
let opened: ReturnType<typeof open> | undefined;

async function open() {
  const kernels = await compileKernels();
  const checkpoint = await openCheckpoint(path);
  const { engine } = await openWasmEngine(kernels, new Meter(MEMORY_BYTES));
  const observing = new ObservingEngine(engine);
  const model = await loadFloatModel(checkpoint, observing);
  await checkpoint.close();
  const momentEngine = moments ? (await openWasmEngine(kernels, new Meter(MEMORY_BYTES))).engine : undefined;
  return { model, observing, momentEngine };
}

serveJobs(async (job: CalibrationJob, onStep) => {
  const { momentEngine, ...model } = await (opened ??= open());
  const sample = momentEngine && new MomentSample(momentEngine, job.count);
  const groups = await observeCondition({ ...model, ...settings, ...job, sample, onStep });
  return sample ? sample.addTo(groups) : groups;
});
