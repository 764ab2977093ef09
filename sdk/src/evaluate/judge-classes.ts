/** An evaluation of class models in, the same with Frechet distances and class agreement of each model out. */
import { evaluateClassModels } from './class-model.ts';
import type { Evaluation, ModelPlace } from './evaluate.ts';

export interface JudgeClassesOptions {
  readonly evaluation: Evaluation;
  /** As the evaluation had them. */
  readonly reference: ModelPlace;
  readonly models: readonly ModelPlace[];
  /** Folder of the classifier's checkpoint. */
  readonly classifier: string;
  /** Real pictures: see `evaluateClassModels`. */
  readonly tests: string;
  /** Where what the classifier said is kept. */
  readonly folder: string;
  /** Of each model, beside those that were evaluated: seeds from 0 on, classes in turn. */
  readonly pictures: number;
  readonly threads?: number;
  readonly signal?: AbortSignal;
  /** Pictures of one model after another. */
  readonly onPicture?: (model: string, done: number, total: number) => void;
}

/** @throws EdgeDitError what `evaluateClassModels` raises */
export async function judgeClasses({ evaluation, ...options }: JudgeClassesOptions): Promise<Evaluation> {
  const { report } = evaluation;
  const { steps, guidance } = report;
  const judged = await evaluateClassModels({ ...options, steps, guidance });
  const found = new Map(judged.models.map((figures) => [figures.digest, figures]));
  const withClasses = <T extends { readonly digest: string }>(one: T) => {
    const { frechetToTests, frechetToReference, agreesWithClass, agreesWithReference } = found.get(one.digest)!;
    return { ...one, classAgreement: { frechetToTests, frechetToReference, agreesWithClass, agreesWithReference } };
  };
  return {
    ...evaluation,
    report: {
      ...report,
      reference: withClasses(report.reference),
      models: report.models.map(withClasses),
      classes: { pictures: judged.pictures, tests: judged.tests },
    },
  };
}
