/**
 * Runs the float network over its own sampler, on conditions, in as many threads as there are cores, and counts what
 * every linear layer reads. The result does not depend on the number of threads: conditions are added up in their order.
 */
import { EdgeDitError } from '@edge-dit/runtime/errors';
import { architectureByName } from '@edge-dit/runtime/models/index';
import { isGuided } from '@edge-dit/runtime/sample';
import type { Checkpoint } from '../checkpoint/checkpoint.ts';
import { shareJobs } from '../threads/share-jobs.ts';
import { type Calibration, type CalibrationSettings, type CalibrationState, checkpointDigest } from './calibration.ts';
import { parseCalibration, serializeCalibration } from './calibration-file.ts';
import type { CalibrationJob, CalibrationThread } from './calibration-worker.ts';
import { embedder } from './embed-conditions.ts';
import { addStatistics, type GroupStatistics } from './group-statistics.ts';

export type { Calibration };

export interface CalibrateOptions {
  readonly checkpoint: Checkpoint;
  /** Prompts for models of text, classes for models of classes. At least one. */
  readonly conditions: readonly (string | number)[];
  /** Steps of the sampler for each. Default 10. */
  readonly steps?: number;
  /** As requests will have it: both halves of a guided request are looked at. Default 3. */
  readonly guidance?: number;
  readonly seed?: number;
  /** Gathers second moments of what layers read too, which GPTQ wants. */
  readonly moments?: boolean;
  /** Default: one for each core. Each holds the network in float32. */
  readonly threads?: number;
  readonly signal?: AbortSignal;
  /** Steps of the sampler that were done, of how many in all conditions together. */
  readonly onStep?: (done: number, total: number) => void;
}

/** Everything at once; `calibrateToFile` can be stopped and continued. */
export async function calibrate(options: CalibrateOptions): Promise<Calibration> {
  const state: CalibrationState = { settings: await settingsOf(options), done: 0, groups: [] };
  await calibrateRest(options, state);
  return parseCalibration(serializeCalibration(state), 'calibration');
}

export async function settingsOf(options: CalibrateOptions): Promise<CalibrationSettings> {
  const { checkpoint, conditions, steps = 10, guidance = 3, seed = 0, moments = false } = options;
  if (conditions.length === 0)
    throw new EdgeDitError('invalid-argument', 'no conditions to calibrate on; give at least one.');
  const { architecture } = checkpoint;
  return { checkpoint: await checkpointDigest(checkpoint), architecture, conditions, steps, guidance, seed, moments };
}

/** Adds the conditions that are not done to the state, in their order; `onDone` is called after each. */
export async function calibrateRest(
  { checkpoint, threads, signal, onStep }: CalibrateOptions,
  state: CalibrationState,
  onDone?: () => Promise<void>,
): Promise<void> {
  const { conditions, steps, guidance, seed, moments } = state.settings;
  const { geometry } = architectureByName(checkpoint.architecture).configure(checkpoint.config);
  const schedulerConfig = schedulerOf(checkpoint);
  const embed = embedder(checkpoint, geometry);
  const first = state.done;
  let ticks = first * steps;
  // Whichever thread is done first: conditions are added in their order.
  const waiting = new Map<number, GroupStatistics[]>();
  let added = Promise.resolve();
  const addWaiting = async () => {
    for (let next = waiting.get(state.done); next; next = waiting.get(state.done)) {
      waiting.delete(state.done);
      add(state, next);
      await onDone?.();
    }
  };
  await shareJobs<number, GroupStatistics[]>({
    module: new URL('calibration-worker.js', import.meta.url),
    data: { path: checkpoint.path, schedulerConfig, steps, guidance, moments } satisfies CalibrationThread,
    jobs: Array.from({ length: conditions.length - first }, (_, i) => first + i),
    threads,
    signal,
    prepare: async (index): Promise<CalibrationJob> => {
      const embedded = await embed(conditions[index], isGuided(guidance));
      return { index, count: conditions.length, seed: seed + index, conditions: embedded };
    },
    onTick: () => onStep?.(++ticks, conditions.length * steps),
    onResult: (groups, i) => {
      waiting.set(first + i, groups);
      return (added = added.then(addWaiting));
    },
  });
}

function add(state: CalibrationState, groups: GroupStatistics[]): void {
  if (state.done === 0) state.groups = groups;
  else for (const [i, group] of groups.entries()) addStatistics(state.groups[i], group);
  state.done++;
}

/** @throws `checkpoint-not-found` when the checkpoint does not say how it is sampled */
export function schedulerOf({ schedulerConfig, path }: Checkpoint): Readonly<Record<string, unknown>> {
  if (schedulerConfig) return schedulerConfig;
  throw new EdgeDitError(
    'checkpoint-not-found',
    `checkpoint "${path}" has no scheduler config, which calibration needs.`,
  );
}
