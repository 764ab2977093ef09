/** What a calibration says: how it was made, and what each group of linear layers read meanwhile. */
import { createHash } from 'node:crypto';
import type { Checkpoint } from '../checkpoint/checkpoint.ts';
import type { GroupStatistics } from './group-statistics.ts';
import { squareOf } from './second-moment.ts';

/** Whatever decides the statistics: equal settings give equal calibrations. */
export interface CalibrationSettings {
  /** SHA-256 of the network, its weights and its sampler: `checkpointDigest`. */
  readonly checkpoint: string;
  readonly architecture: string;
  /** Prompts, or classes. */
  readonly conditions: readonly (string | number)[];
  readonly steps: number;
  readonly guidance: number;
  /** Condition i starts from the noise of seed + i. */
  readonly seed: number;
  /** Whether second moments were gathered. */
  readonly moments: boolean;
}

/** Settings, and the statistics of the first `done` conditions: a calibration is one of which all are done. */
export interface CalibrationState {
  readonly settings: CalibrationSettings;
  done: number;
  /** Empty before the first condition. */
  groups: GroupStatistics[];
}

/** Layers that read the same operand. */
export interface CalibrationGroup extends Omit<GroupStatistics, 'channelMax' | 'moments'> {
  /** [channels]: the largest magnitude in any step. */
  readonly channelMax: Float32Array;
  /** [steps, channels]: the largest magnitude. */
  readonly stepChannelMax: Float32Array;
  readonly moments?: SecondMoments;
}

export interface SecondMoments {
  /** How many tokens were summed up. */
  readonly rows: number;
  /** [channels, channels]: the sum of x x^T over those tokens, as the layers read them: before any balance. Made at each access. */
  readonly matrix: Float32Array;
}

export interface Calibration extends CalibrationSettings {
  readonly groups: readonly CalibrationGroup[];
  /** Of the calibration file with these settings and statistics. */
  readonly sha256: string;
}

/** @param sha256 of the bytes of the state's file */
export function calibrationOf({ settings, groups }: CalibrationState, sha256: string): Calibration {
  return { ...settings, sha256, groups: groups.map(groupOf) };
}

function groupOf({ channelMax, moments, ...rest }: GroupStatistics): CalibrationGroup {
  const { channels, steps } = rest;
  const most = channelMax.slice(0, channels);
  for (let i = channels; i < steps * channels; i++) most[i % channels] = Math.max(most[i % channels], channelMax[i]);
  return {
    ...rest,
    channelMax: most,
    stepChannelMax: channelMax,
    ...(moments ? { moments: momentsOf(moments, channels) } : {}),
  };
}

function momentsOf({ rows, triangle }: NonNullable<GroupStatistics['moments']>, channels: number): SecondMoments {
  return {
    rows,
    get matrix() {
      return squareOf(triangle, channels);
    },
  };
}

/** SHA-256 over the configs of the network and the sampler, and every tensor as float32. */
export async function checkpointDigest(checkpoint: Checkpoint): Promise<string> {
  const { architecture, config, schedulerConfig, tensors } = checkpoint;
  const hash = createHash('sha256').update(JSON.stringify([architecture, config, schedulerConfig ?? null]));
  for (const name of [...tensors.keys()].sort()) {
    hash.update(`${name} [${tensors.get(name)!.shape}]`).update(new Uint8Array((await checkpoint.read(name)).buffer));
  }
  return hash.digest('hex');
}
