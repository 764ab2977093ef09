/** An evaluation in, the same with the text agreement of each model out; what was judged is kept beside the pictures. */
import { EdgeDitError } from '@edge-dit/runtime/errors';
import type { Checkpoint } from '../checkpoint/checkpoint.ts';
import type { Evaluation } from './evaluate.ts';
import type { EvaluationReport } from './report.ts';
import { textAgreement } from './text-agreement.ts';

export interface JudgeTextsOptions {
  readonly evaluation: Evaluation;
  /** The float network that judges: the one that the models were made of. */
  readonly checkpoint: Checkpoint;
  /** Names of the models that are judged beside the float network. Default: all. */
  readonly models?: readonly string[];
  /** Pictures judged at once. Default: one for each core. */
  readonly threads?: number;
  readonly signal?: AbortSignal;
  /** How many pictures of all models were judged; first with none. */
  readonly onPicture?: (done: number, total: number) => void;
}

type Figures = NonNullable<EvaluationReport['reference']['textAgreement']>;

/** @throws EdgeDitError `invalid-argument` for pictures of classes; what `textAgreement` raises */
export async function judgeTexts(options: JudgeTextsOptions): Promise<Evaluation> {
  const { evaluation, checkpoint, models, threads, signal, onPicture } = options;
  const { report, cache } = evaluation;
  const prompts = report.requests.map(({ condition }) => textOf(condition));
  const judgedModels = report.models.filter(({ model }) => models?.includes(model) ?? true);
  const digests = [...new Set([report.reference, ...judgedModels].map(({ digest }) => digest))];
  const total = digests.length * prompts.length;
  const found = new Map<string, Figures>();
  const judge = async (digest: string): Promise<Figures> => {
    const before = found.size * prompts.length;
    const pictures = await Promise.all(prompts.map((_, index) => evaluation.picture(digest, index)));
    const onJudged = (done: number) => onPicture?.(before + done, total);
    const judged = await textAgreement({ checkpoint, pictures, prompts, threads, signal, onPicture: onJudged });
    return { share: judged.share, meanMarginDb: judged.meanMarginDb };
  };
  const { steps, guidance, requests, reference } = report;
  for (const digest of digests) {
    onPicture?.(found.size * prompts.length, total);
    const of = { textAgreement: reference.digest, steps, guidance, requests };
    found.set(digest, await cache.remember(digest, of, () => judge(digest)));
  }
  const judged = <T extends { readonly digest: string }>(one: T) => ({ ...one, textAgreement: found.get(one.digest) });
  return { ...evaluation, report: { ...report, reference: judged(reference), models: report.models.map(judged) } };
}

function textOf(condition: string | number): string {
  if (typeof condition === 'string') return condition;
  throw new EdgeDitError('invalid-argument', 'text agreement is of prompts; these pictures are of classes.');
}
