/** One thread that prepares the measurements: takes conditions, answers with their lessons. */
import { workerData } from 'node:worker_threads';
import type { Linear } from '@edge-dit/runtime/engines/engine';
import type { Conditions } from '@edge-dit/runtime/models/architecture';
import { roundTrip } from '../analyze/round-trip.ts';
import { canonicalCheckpoint } from '../checkpoint/canonical.ts';
import { openCheckpoint } from '../checkpoint/checkpoint.ts';
import { serveJobs } from '../threads/serve-jobs.ts';
import { openFloatNetwork } from './float-network.ts';
import { type Course, lessonsOf } from './lessons.ts';

export interface LessonThread extends Course {
  /** Of the checkpoint. */
  readonly path: string;
  /** Layers that will be measured. */
  readonly layers: readonly string[];
}

export interface LessonJob {
  readonly index: number;
  readonly seed: number;
  readonly conditions: Conditions;
}

/** Weights of so many bits, rounded to nearest, err little enough for errors to have effects in proportion to them. */
const DISTURBED_BITS = 6;

const { path, layers, ...course } = workerData as LessonThread;
let opened: ReturnType<typeof open> | undefined;

async function open() {
  const network = await openFloatNetwork(path);
  const { engine, model } = network;
  const checkpoint = await openCheckpoint(path);
  const { architecture, tensors } = canonicalCheckpoint(checkpoint);
  const changed = new Map<string, Linear>();
  for (const spec of architecture.linears.filter(({ name }) => layers.includes(name))) {
    const weight = roundTrip(await tensors.get(`${spec.name}.weight`)!.read(), spec.inFeatures, DISTURBED_BITS);
    const bias = spec.bias ? await tensors.get(`${spec.name}.bias`)!.read() : undefined;
    const { outFeatures, inFeatures } = spec;
    changed.set(spec.name, engine.linear({ kind: 'float', weight, bias, outFeatures, inFeatures }));
  }
  await checkpoint.close();
  const { geometry } = architecture;
  return { engine, geometry, exact: model.transformer, disturbed: network.with(changed) };
}

serveJobs(async (job: LessonJob) => lessonsOf(course, job, await (opened ??= open())));
