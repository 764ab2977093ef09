/**
 * The report that is committed, as a memory: pictures and what a network says of them follow from the digests of the models, so
 * that a model which is still the same need not be evaluated again.
 */
import { existsSync, readFileSync } from 'node:fs';
import { isDeepStrictEqual } from 'node:util';
import type { Evaluation } from '@edge-dit/sdk/evaluate/evaluate';
import type { EvaluationRequests } from '@edge-dit/sdk/evaluate/evaluation-requests';
import { type EvaluatedModel, type EvaluationReport, parseReport } from '@edge-dit/sdk/evaluate/report';

export class LastReport {
  readonly #report: EvaluationReport | undefined;

  /** Knows nothing where there is no report, or one of other requests. */
  constructor(path: string, { conditions, steps, guidance, list }: EvaluationRequests) {
    if (!existsSync(path)) return;
    const report = parseReport(readFileSync(path, 'utf8'), path);
    const asked = [conditions.map((condition, i) => ({ condition, seed: list[i].seed })), steps, guidance];
    if (isDeepStrictEqual([report.requests, report.steps, report.guidance], asked)) this.#report = report;
  }

  /** What it says of a model of this digest, compared with a reference of that one. */
  row(digest: string, reference: string): EvaluatedModel | undefined {
    if (this.#report?.reference.digest !== reference) return undefined;
    return this.#report.models.find((model) => model.digest === digest);
  }

  /** Puts what was judged of texts where `judgeTexts` looks for it. */
  async teach({ cache, report }: Evaluation): Promise<void> {
    const { steps, guidance, requests, reference } = report;
    if (this.#report?.reference.digest !== reference.digest) return;
    const of = { textAgreement: reference.digest, steps, guidance, requests };
    for (const { digest, textAgreement } of [this.#report.reference, ...this.#report.models]) {
      if (textAgreement) await cache.remember(digest, of, async () => textAgreement);
    }
  }
}
