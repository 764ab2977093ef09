/** How much what a layer reads varies, and how far its largest channels stand out. */
import type { CalibrationGroup } from '../calibrate/calibration.ts';
import { RANGE_FIELDS } from '../calibrate/group-statistics.ts';
import type { Variance } from './analysis.ts';

const FIELDS = RANGE_FIELDS.length;
const [TOKENS, LOWEST, HIGHEST, SUM, LARGEST] = RANGE_FIELDS.keys();

export function varianceOf({ channels, steps, halves, stepChannelMax, tokenRanges }: CalibrationGroup): Variance {
  const field = (step: number, half: number, index: number) => tokenRanges[(step * halves + half) * FIELDS + index];
  const range = (step: number, half: number) => field(step, half, HIGHEST) - field(step, half, LOWEST);
  const places = Array.from({ length: steps }, (_, step) =>
    Array.from({ length: halves }, (_, half) => ({ step, half })).filter(({ half }) => field(step, half, TOKENS) > 0),
  );
  const tokens = places.flat().map(({ step, half }) => {
    return (field(step, half, LARGEST) * field(step, half, TOKENS)) / field(step, half, SUM);
  });
  return {
    token: mean(tokens),
    condition: mean(places.map((of) => spread(of.map(({ step, half }) => range(step, half))))),
    timestep: spread(places.map((of) => Math.max(...of.map(({ step, half }) => range(step, half))))),
    channel: mean(places.map((_, step) => spread(stepChannelMax.subarray(step * channels, (step + 1) * channels)))),
  };
}

/** The mean over `tokens` of max|x| sqrt(n) / ||x||: 1 where all channels are as large, sqrt(n) where one is alone. */
export function incoherenceOf(values: Float32Array, channels: number): number {
  const each: number[] = [];
  for (let from = 0; from < values.length; from += channels) {
    let most = 0;
    let squares = 0;
    for (let i = from; i < from + channels; i++) {
      most = Math.max(most, Math.abs(values[i]));
      squares += values[i] ** 2;
    }
    if (most > 0) each.push(most * Math.sqrt(channels / squares));
  }
  return mean(each);
}

const mean = (values: readonly number[]) =>
  values.length === 0 ? 0 : values.reduce((sum, value) => sum + value, 0) / values.length;

function spread(values: ArrayLike<number>): number {
  const all = Array.from(values);
  const middle = mean(all);
  return middle === 0 ? 1 : Math.max(...all) / middle;
}
