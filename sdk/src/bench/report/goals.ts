/** The figures to which this project holds itself: on an x86-64 processor with AVX-VNNI, and for one thread unless they say so. */
import { type BenchReport, type HostReport, THREADS } from '../bench.ts';
import { threadsName } from '../core/threads.ts';
import { floorOf, median, outsideProducts, picturesIn, shareOf, speedup } from './figures.ts';

export interface Goal {
  readonly what: string;
  readonly goal: string;
  /** Undefined where it was not measured. */
  readonly measured?: string;
  readonly met?: boolean;
}

/** Pictures are made in workerd; so are its goals measured there. */
const HOST = 'workerd';
const ROWS = 256;

export function goalsOf(report: BenchReport): Goal[] {
  const found = report.hosts.find(({ host }) => host.name === HOST);
  return [...(found ? hostGoals(found) : []), ...report.hosts.flatMap(threadGoals), ...pictureGoals(report, found)];
}

function hostGoals(report: HostReport): Goal[] {
  const { host, gemm, step, profile } = report;
  const shapes = gemm.filter(({ m }) => m === ROWS);
  const worst = (figure: (shape: (typeof shapes)[number]) => number | undefined) => {
    const figures = shapes.map(figure);
    return figures.length === 0 || figures.includes(undefined) ? undefined : Math.min(...(figures as number[]));
  };
  const fast = host.variants[0];
  const forms = ['w4', 'w8'];
  const leastOf = (of: (form: string) => number | undefined) => least(forms.map(of));
  const ours = step?.cases[0]?.name;
  const ratio = (slow: string) => (step && ours !== undefined ? speedup(step, ours, slow) : undefined);
  const w8Share = host.form === 'nibbles' ? 0.4 : 0.8;
  return [
    atLeast(
      'w4 product, share of the ceiling, worst shape',
      worst((shape) => shareOf(shape, `${fast}/w4/product`)),
      0.8,
      percent,
    ),
    atLeast(
      'w8 product, share of the ceiling, worst shape',
      worst((shape) => shareOf(shape, `${fast}/w8/product`)),
      w8Share,
      percent,
    ),
    atLeast(
      'linear layer against fp32 MatMul, worst shape and form',
      leastOf((form) => worst((shape) => speedup(shape, `${fast}/${form}/layer`, 'onnxruntime/fp32'))),
      5,
      times,
    ),
    atLeast(
      'linear layer against int8, worst shape and form',
      leastOf((form) => worst((shape) => speedup(shape, `${fast}/${form}/layer`, 'onnxruntime/int8'))),
      2.5,
      times,
    ),
    atLeast(
      'linear layer with plain SIMD against int8, worst shape and form',
      leastOf((form) => worst((shape) => speedup(shape, `simd/${form}/layer`, 'onnxruntime/int8'))),
      1.1,
      times,
    ),
    atLeast('denoising step against fp32', ratio('onnxruntime/fp32'), 4, times),
    atLeast('denoising step against dynamic int8', ratio('onnxruntime/int8-dynamic'), 2.5, times),
    atMost('part of a step outside matrix products', profile && outsideProducts(profile), 0.35, percent),
  ];
}

function threadGoals({ host, threads }: HostReport): Goal[] {
  if (threads === undefined) return [];
  const what = `denoising step on ${threadsName(THREADS)} against one, ${host.name} ${host.version}`;
  return [
    atLeast(what, speedup(threads, threadsName(THREADS), threadsName(1)), 1.7, (ratio) => `${ratio.toFixed(2)} ×`),
  ];
}

function pictureGoals({ pictures, startup }: BenchReport, host: HostReport | undefined): Goal[] {
  const of = (state: Parameters<typeof picturesIn>[1]) => pictures && picturesIn(pictures, state);
  const [cached, newPrompt, warm] = [of('cold-isolate'), of('cold-isolate-new-prompt'), of('warm')];
  const floor = host && pictures && floorOf(host, pictures.steps);
  const added = startup && median(startup.modules);
  return [
    atMost('warm picture over its floor', warm && floor && warm.totalMs / floor, 2.2, times),
    atMost(
      'until the first step, new isolate, embedding cached',
      cached && cached.untilSamplingMs / cached.totalMs,
      0.25,
      percent,
    ),
    atMost(
      'until the first step, new isolate, text encoder to load',
      newPrompt && newPrompt.untilSamplingMs / newPrompt.totalMs,
      0.5,
      percent,
    ),
    atMost("start of the worker's own modules", added, 50, (ms) => `${ms.toFixed(0)} ms`),
    atMost('peak with the text encoder', newPrompt?.peakBytes, 110e6, megabytes),
    atMost('peak with the embedding cached', cached?.peakBytes, 40e6, megabytes),
  ];
}

function least(values: readonly (number | undefined)[]): number | undefined {
  return values.includes(undefined) ? undefined : Math.min(...(values as number[]));
}

export const percent = (share: number) => `${(100 * share).toFixed(0)} %`;
export const times = (ratio: number) => `${ratio.toFixed(1)} ×`;
export const megabytes = (bytes: number) => `${(bytes / 1e6).toFixed(1)} MB`;

type Shown = (value: number) => string;
const atLeast = (what: string, value: number | undefined, bound: number, shown: Shown): Goal => ({
  what,
  goal: `at least ${shown(bound)}`,
  ...(value !== undefined && { measured: shown(value), met: value >= bound }),
});
const atMost = (what: string, value: number | undefined, bound: number, shown: Shown): Goal => ({
  what,
  goal: `at most ${shown(bound)}`,
  ...(value !== undefined && { measured: shown(value), met: value <= bound }),
});
