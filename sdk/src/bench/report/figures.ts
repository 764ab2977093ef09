/** From raw values to figures: medians, rates, shares of the ceiling, ratios, and how a cost grows. */
import type { BenchReport, HostReport } from '../bench.ts';
import { CONTROL, type Measured, PRODUCT_CLASSES, type ProfileResult, type TimedResult } from '../core/parts.ts';
import type { PictureState, PicturesResult } from '../pictures.ts';

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** Median milliseconds of a case; undefined where it was not measured. */
export function timeOf({ cases }: TimedResult, name: string): number | undefined {
  const found = cases.find((one) => one.name === name);
  return found && median(found.milliseconds);
}

/** 10^9 multiply-adds a second. */
export const rateOf = ({ macs, milliseconds }: Measured): number => (macs ?? Number.NaN) / median(milliseconds) / 1e6;

/** How many times as long `slow` takes as `fast`. */
export function speedup(result: TimedResult, fast: string, slow: string): number | undefined {
  const [a, b] = [timeOf(result, fast), timeOf(result, slow)];
  return a !== undefined && b !== undefined ? b / a : undefined;
}

const CEILINGS: Readonly<Record<string, string>> = {
  'relaxed/w4': 'relaxed_dot',
  'relaxed/w8': 'relaxed_dot',
  'simd/w4': 'i16_dot',
  'simd/w8': 'i16_dot',
  'relaxed/f32': 'f32_madd',
  'simd/f32': 'f32_madd',
};

/** The share of its own instruction's ceiling, measured beside it, that a case of ours reaches. */
export function shareOf({ cases }: TimedResult, name: string): number | undefined {
  const own = cases.find((one) => one.name === name);
  const limit = cases.find((one) => one.name === `ceiling/${CEILINGS[name.split('/').slice(0, 2).join('/')]}`);
  return own && limit && rateOf(own) / rateOf(limit);
}

export const isCeiling = ({ name }: Measured) => name.startsWith('ceiling/');
/** What other cases are compared with: no case of its own. */
export const isYardstick = (one: Measured) => isCeiling(one) || one.name === CONTROL;

/** Of a host's fastest integer instruction, measured beside the steps: 10^9 multiply-adds a second. */
export function ceilingOf({ step, host }: HostReport): number | undefined {
  const name = host.variants[0] === 'relaxed' ? 'ceiling/relaxed_dot' : 'ceiling/i16_dot';
  const found = step?.cases.find((one) => one.name === name);
  return found && rateOf(found);
}

/**
 * How far the rounds of a case lie apart, without the longest and the shortest, as a part of their median: the median over
 * all cases. On a machine that does nothing else 0.02 to 0.04.
 */
export function spreadOf({ hosts }: BenchReport): number | undefined {
  const spreads = hosts
    .flatMap(({ gemm, step }) => [...gemm, ...(step ? [step] : [])])
    .flatMap(({ cases }) => cases.map(({ milliseconds }) => milliseconds))
    .filter(({ length }) => length >= 5)
    .map((milliseconds) => {
      const inner = [...milliseconds].sort((a, b) => a - b).slice(1, -1);
      return (inner[inner.length - 1] - inner[0]) / median(milliseconds);
    });
  return spreads.length > 0 ? median(spreads) : undefined;
}

/** The part of a step that is spent outside matrix products. */
export function outsideProducts({ kernels, totalMs }: ProfileResult): number {
  const products = kernels.filter((entry) => PRODUCT_CLASSES.includes(entry.class));
  return 1 - products.reduce((sum, { ms }) => sum + ms, 0) / totalMs;
}

/** The slope of log y over log x by least squares: 1 for a cost that grows in proportion. */
export function exponent(points: readonly (readonly [x: number, y: number])[]): number {
  const logs = points.map(([x, y]) => [Math.log(x), Math.log(y)]);
  const mean = (axis: number) => logs.reduce((sum, point) => sum + point[axis], 0) / logs.length;
  const [mx, my] = [mean(0), mean(1)];
  const covariance = logs.reduce((sum, [x, y]) => sum + (x - mx) * (y - my), 0);
  return covariance / logs.reduce((sum, [x]) => sum + (x - mx) ** 2, 0);
}

export interface PictureFigures {
  readonly state: PictureState;
  readonly count: number;
  readonly totalMs: number;
  /** From the request to the first denoising step. */
  readonly untilSamplingMs: number;
  readonly timings: Readonly<Record<string, number>>;
  readonly peakBytes: number;
}

export function picturesIn({ samples }: PicturesResult, state: PictureState): PictureFigures | undefined {
  const found = samples.filter((sample) => sample.state === state);
  if (found.length === 0) return undefined;
  const names = Object.keys(found[0].timings);
  const before = found.map(
    ({ totalMs, timings: { sample = 0, decode = 0, png = 0 } }) => totalMs - sample - decode - png,
  );
  return {
    state,
    count: found.length,
    totalMs: median(found.map(({ totalMs }) => totalMs)),
    untilSamplingMs: median(before),
    timings: Object.fromEntries(names.map((name) => [name, median(found.map(({ timings }) => timings[name]))])),
    peakBytes: Math.max(...found.map(({ peakBytes }) => peakBytes)),
  };
}

/** Milliseconds below which no picture can be: the multiply-adds of its linear layers at the ceiling. */
export function floorOf(host: HostReport, steps: number): number | undefined {
  if (host.profile === undefined) return undefined;
  const { linear, shared } = host.profile.macs;
  return atCeiling(host, steps * linear + shared);
}

/** Milliseconds of so many multiply-adds at the ceiling. */
export function atCeiling(host: HostReport, macs: number): number | undefined {
  const ceiling = ceilingOf(host);
  return ceiling && macs / ceiling / 1e6;
}
