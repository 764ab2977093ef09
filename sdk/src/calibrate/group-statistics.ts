/**
 * What is counted of one group of layers that read the same operand: in one condition, or, added up, in many. Every
 * number is a maximum or a sum in a fixed order, so that the same conditions give the same bits however they were run.
 */
import { EdgeDitError } from '@edge-dit/runtime/errors';

/** Of the tokens of one step and one half of a guided request, in this order. */
export const RANGE_FIELDS = ['tokens', 'lowest', 'highest', 'sumOfRanges', 'largestRange'] as const;
const FIELDS = RANGE_FIELDS.length;
const [TOKENS, LOWEST, HIGHEST, SUM, LARGEST] = RANGE_FIELDS.keys();

export interface GroupShape {
  readonly channels: number;
  /** Steps of the sampler in which the operand is read: 1 for what all steps share, which is read once. */
  readonly steps: number;
  /** 2 with guidance, the unconditional half first. */
  readonly halves: number;
}

export interface GroupStatistics extends GroupShape {
  /** Names of the layers, in the order in which they read. */
  readonly layers: readonly string[];
  /** [steps, channels]: the largest magnitude. */
  readonly channelMax: Float32Array;
  /** [steps, channels]: the sum of squares. */
  readonly channelSquares: Float64Array;
  /** [steps, halves, fields]: `RANGE_FIELDS`. A token's range is that from its lowest to its highest channel, 0 included. */
  readonly tokenRanges: Float64Array;
  /** Of a sample of the tokens; absent unless asked for. */
  readonly moments?: {
    rows: number;
    /** [channels (channels + 1) / 2]: the upper triangle, row by row, of the sum of x x^T. */
    readonly triangle: Float32Array;
  };
}

export function emptyStatistics(layers: readonly string[], shape: GroupShape): GroupStatistics {
  const { channels, steps, halves } = shape;
  return {
    ...shape,
    layers,
    channelMax: new Float32Array(steps * channels),
    channelSquares: new Float64Array(steps * channels),
    tokenRanges: new Float64Array(steps * halves * FIELDS),
  };
}

/** Counts one token: row `row` of `values` [rows, channels]. */
export function countToken(of: GroupStatistics, step: number, half: number, values: Float32Array, row: number): void {
  const { channels, channelMax, channelSquares, tokenRanges } = of;
  const from = row * channels;
  const at = step * channels;
  let lowest = 0;
  let highest = 0;
  for (let c = 0; c < channels; c++) {
    const value = values[from + c];
    // Not by a comparison: no processor foresees signs.
    const magnitude = Math.abs(value);
    if (magnitude > channelMax[at + c]) channelMax[at + c] = magnitude;
    channelSquares[at + c] += value * value;
    if (value < lowest) lowest = value;
    else if (value > highest) highest = value;
  }
  raiseRanges(tokenRanges, (step * of.halves + half) * FIELDS, 1, lowest, highest, highest - lowest, highest - lowest);
}

/** total += one. The order of calls decides the last bits. */
export function addStatistics(total: GroupStatistics, one: GroupStatistics): void {
  if (total.layers.join() !== one.layers.join() || total.channelMax.length !== one.channelMax.length) {
    throw new EdgeDitError(
      'internal',
      `conditions differ in the layers that they run: ${total.layers}, ${one.layers}.`,
    );
  }
  one.channelMax.forEach((value, i) => {
    if (value > total.channelMax[i]) total.channelMax[i] = value;
  });
  one.channelSquares.forEach((value, i) => {
    total.channelSquares[i] += value;
  });
  for (let at = 0; at < one.tokenRanges.length; at += FIELDS) {
    const [tokens, lowest, highest, sum, largest] = one.tokenRanges.subarray(at, at + FIELDS);
    raiseRanges(total.tokenRanges, at, tokens, lowest, highest, sum, largest);
  }
  if (!total.moments || !one.moments) return;
  total.moments.rows += one.moments.rows;
  const sum = total.moments.triangle;
  const { triangle } = one.moments;
  for (let i = 0; i < sum.length; i++) sum[i] += triangle[i];
}

function raiseRanges(
  ranges: Float64Array,
  at: number,
  tokens: number,
  lowest: number,
  highest: number,
  sum: number,
  largest: number,
): void {
  ranges[at + TOKENS] += tokens;
  ranges[at + LOWEST] = Math.min(ranges[at + LOWEST], lowest);
  ranges[at + HIGHEST] = Math.max(ranges[at + HIGHEST], highest);
  ranges[at + SUM] += sum;
  ranges[at + LARGEST] = Math.max(ranges[at + LARGEST], largest);
}
