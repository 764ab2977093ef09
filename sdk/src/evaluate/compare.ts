/**
 * Reports in, their models ranked out. A model is on a front when no other is at least as good in both of its figures and
 * better in one: what is on no front has a better or a cheaper alternative (Pareto).
 */
import { EdgeDitError } from '@edge-dit/runtime/errors';
import { canonicalJson } from '@edge-dit/runtime/format/json';
import { decibels, markdownTable, megabytes, milliseconds, percent, similarity } from './figures-text.ts';
import type { EvaluatedModel, EvaluationReport } from './report.ts';

export type Order = 'psnr' | 'bytes' | 'speed';

export interface RankedModel {
  readonly model: string;
  readonly recipe?: string;
  readonly digest: string;
  readonly meanPsnr: number;
  readonly worstPsnr: number;
  readonly meanSsim: number;
  readonly meanGmsd: number;
  readonly bytes: number;
  readonly ratio: number;
  readonly msPerStep: number;
  readonly peakBytes: number;
  /** From 1; equal figures have equal ranks. */
  readonly ranks: Readonly<Record<Order, number>>;
  /** On the front of mean PSNR against bytes, and of mean PSNR against time. */
  readonly paretoOptimal: { readonly bytes: boolean; readonly speed: boolean };
}

export interface NamedReport {
  /** For messages. */
  readonly name: string;
  readonly report: EvaluationReport;
}

/** What is better has the smaller key. */
const KEYS: Readonly<Record<Order, (model: EvaluatedModel) => number>> = {
  psnr: ({ psnr }) => -psnr.mean,
  bytes: ({ bytes }) => bytes,
  speed: ({ msPerStep }) => msPerStep,
};

/**
 * Ranks the models of one or more reports, best first by `order`. A model that is in several counts as in the last.
 * @throws EdgeDitError `invalid-argument` for reports of different pictures, or made on different machines
 */
export function compareModels(reports: readonly NamedReport[], order: Order = 'psnr'): RankedModel[] {
  for (const other of reports.slice(1)) refuseOtherPictures(reports[0], other);
  const models = [...new Map(reports.flatMap(({ report }) => report.models.map((one) => [one.digest, one]))).values()];
  const rank = (model: EvaluatedModel, by: Order) =>
    1 + models.filter((other) => KEYS[by](other) < KEYS[by](model)).length;
  const isOnFront = (model: EvaluatedModel, by: Order) =>
    !models.some((other) => dominates(other, model, [KEYS.psnr, KEYS[by]]));
  const ranked = models.map((model) => ({
    model: model.model,
    recipe: model.recipe,
    digest: model.digest,
    meanPsnr: model.psnr.mean,
    worstPsnr: model.psnr.worst,
    meanSsim: model.ssim.mean,
    meanGmsd: model.gmsd.mean,
    bytes: model.bytes,
    ratio: model.ratio,
    msPerStep: model.msPerStep,
    peakBytes: model.peakBytes,
    ranks: { psnr: rank(model, 'psnr'), bytes: rank(model, 'bytes'), speed: rank(model, 'speed') },
    paretoOptimal: { bytes: isOnFront(model, 'bytes'), speed: isOnFront(model, 'speed') },
  }));
  return ranked.sort((a, b) => a.ranks[order] - b.ranks[order] || a.ranks.psnr - b.ranks.psnr);
}

function dominates(
  a: EvaluatedModel,
  b: EvaluatedModel,
  keys: readonly ((model: EvaluatedModel) => number)[],
): boolean {
  return keys.every((key) => key(a) <= key(b)) && keys.some((key) => key(a) < key(b));
}

function refuseOtherPictures(first: NamedReport, other: NamedReport): void {
  const aspects: readonly (readonly [what: string, of: (report: EvaluationReport) => unknown])[] = [
    ['float networks', ({ reference }) => reference.digest],
    ['prompts, classes or seeds', ({ requests }) => requests],
    ['steps', ({ steps }) => steps],
    ['guidance', ({ guidance }) => guidance],
    ['machines', ({ machine }) => machine],
    ['numbers of threads', ({ threads }) => threads],
  ];
  const differing = aspects.filter(([, of]) => canonicalJson(of(first.report)) !== canonicalJson(of(other.report)));
  if (differing.length === 0) return;
  throw new EdgeDitError(
    'invalid-argument',
    `${first.name} and ${other.name} are of different ${differing.map(([what]) => what).join(' and ')}, so their figures do not compare; evaluate the models together.`,
  );
}

/** One row for each model, in their order. */
export function comparisonMarkdown(models: readonly RankedModel[]): string[] {
  return [
    ...markdownTable(
      [
        'model',
        'PSNR mean',
        'worst',
        'SSIM',
        'GMSD',
        'shards, MB',
        'of float16',
        'ms a step',
        'peak, MB',
        'best of its',
        'ranks',
      ],
      models.map((one) => [
        one.model,
        decibels(one.meanPsnr),
        decibels(one.worstPsnr),
        similarity(one.meanSsim),
        similarity(one.meanGmsd),
        megabytes(one.bytes),
        percent(one.ratio),
        milliseconds(one.msPerStep),
        megabytes(one.peakBytes),
        [one.paretoOptimal.bytes ? 'bytes' : '', one.paretoOptimal.speed ? 'speed' : ''].filter(Boolean).join(', '),
        `${one.ranks.psnr} / ${one.ranks.bytes} / ${one.ranks.speed}`,
      ]),
    ),
    '',
    'Best of its bytes, or of its speed: no other model has as high a mean PSNR for fewer bytes, or in less time (Pareto-optimal). Ranks: PSNR / bytes / speed.',
  ];
}
