/** The values that the codes of a weight can stand for: a grid for each output channel, and one in it for each group of inputs. */
import { floatToHalf, halfToFloat } from '@edge-dit/runtime/format/half';

/** Values are step * (code - zero), for codes from 0 to `top`. */
export interface ChannelGrid {
  /** A float16 number; 0 where every weight is 0. */
  readonly step: number;
  readonly zero: number;
  readonly top: number;
}

/** Of a group: the code q stands for code multiplier * q + base of the channel's grid. */
export interface GroupGrid {
  readonly multiplier: number;
  readonly base: number;
}

/** Of expanded codes: engine.ts says why. */
const EXPANDED_TOP = 127;
/** How much of the range a search for the least squared error may cut off, and in how many steps it looks. */
const SMALLEST_SHARE = 0.5;
const SHARES = 25;

/** The smallest float16 that is not below `value`: the range of a row then always fits its codes. */
export function halfAtLeast(value: number): number {
  const half = floatToHalf(value);
  const rounded = halfToFloat(half);
  return rounded < value ? halfToFloat(half + 1) : rounded;
}

/**
 * The grid of a whole row of weights.
 * @param importance of the square of each weight's error; without it the codes reach the smallest and the largest weight
 */
export function channelGrid(row: Float32Array, bits: number, importance?: Float32Array): ChannelGrid {
  const top = 2 ** bits - 1;
  const [low, high] = rangeOf(row, 0);
  const gridOf = (share: number): ChannelGrid => {
    const step = halfAtLeast((share * (high - low)) / top);
    return { step, top, zero: step === 0 ? 0 : Math.min(top, Math.round((-share * low) / step)) };
  };
  let best = gridOf(1);
  if (!importance || best.step === 0) return best;
  let least = channelError(row, best, importance, Number.POSITIVE_INFINITY);
  for (let i = 1; i <= SHARES; i++) {
    const grid = gridOf(1 - (i / SHARES) * (1 - SMALLEST_SHARE));
    const error = channelError(row, grid, importance, least);
    if (error < least) [best, least] = [grid, error];
  }
  return best;
}

function channelError(row: Float32Array, { step, zero, top }: ChannelGrid, importance: Float32Array, limit: number) {
  let sum = 0;
  for (let k = 0; k < row.length && sum < limit; k++) {
    const code = clamp(Math.round(row[k] / step) + zero, top);
    sum += importance[k] * (row[k] - step * (code - zero)) ** 2;
  }
  return sum;
}

/** The grid of a row whose groups have grids in it: as fine as the whole row's range and the widest group allow. */
export function expandedGrid(row: Float32Array, bits: number, group: number): ChannelGrid {
  const top = 2 ** bits - 1;
  const [low, high] = rangeOf(row, 0);
  let widest = 0;
  for (let k = 0; k < row.length; k += group) {
    const [least, most] = rangeOf(row.subarray(k, k + group));
    widest = Math.max(widest, most - least);
  }
  const step = halfAtLeast(Math.max((high - low) / EXPANDED_TOP, widest / (top * Math.floor(EXPANDED_TOP / top))));
  return { step, top: EXPANDED_TOP, zero: step === 0 ? 0 : Math.min(EXPANDED_TOP, Math.round(-low / step)) };
}

/** The grid of one group of a row: the best of those around its range by the weighted squared error. */
export function groupGrid(
  weights: Float32Array,
  bits: number,
  { step, zero }: ChannelGrid,
  importance?: Float32Array,
): GroupGrid {
  const top = 2 ** bits - 1;
  const [low, high] = rangeOf(weights);
  const ideal = (high - low) / (top * step);
  const most = Math.min(Math.floor(EXPANDED_TOP / top), Math.max(1, Math.ceil(ideal)));
  const least = importance ? Math.max(1, Math.floor(SMALLEST_SHARE * ideal)) : most;
  let best: GroupGrid = { multiplier: most, base: clamp(Math.round(low / step) + zero, EXPANDED_TOP - most * top) };
  let error = groupError(weights, bits, best, { step, zero }, importance, Number.POSITIVE_INFINITY);
  for (let multiplier = least; multiplier <= most; multiplier++) {
    // What the codes do not reach is cut off on both sides, or a little more on one.
    const middle = Math.round(((low + high) / step - multiplier * top) / 2) + zero;
    for (let shift = -1; shift <= 1; shift++) {
      const base = middle + shift * Math.ceil(multiplier / 2);
      if (base < 0 || base + multiplier * top > EXPANDED_TOP) continue;
      const grid = { multiplier, base };
      const sum = groupError(weights, bits, grid, { step, zero }, importance, error);
      if (sum < error) [best, error] = [grid, sum];
    }
  }
  return best;
}

function groupError(
  weights: Float32Array,
  bits: number,
  { multiplier, base }: GroupGrid,
  { step, zero }: Pick<ChannelGrid, 'step' | 'zero'>,
  importance: Float32Array | undefined,
  limit: number,
): number {
  const top = 2 ** bits - 1;
  let sum = 0;
  for (let k = 0; k < weights.length && sum < limit; k++) {
    const code = clamp(Math.round((weights[k] / step + zero - base) / multiplier), top);
    sum += (importance?.[k] ?? 1) * (weights[k] - step * (multiplier * code + base - zero)) ** 2;
  }
  return sum;
}

export const clamp = (value: number, top: number) => Math.min(top, Math.max(0, value));

function rangeOf(values: Float32Array, from?: number): [number, number] {
  let low = from ?? values[0];
  let high = from ?? values[0];
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return [low, high];
}
