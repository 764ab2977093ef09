/** What an evaluation must have found, recipe by recipe: a table in JSON, and what of it a report does not meet. */
import { EdgeDitError } from '@edge-dit/runtime/errors';
import { formatPath } from '@edge-dit/runtime/format/json';
import { z } from 'zod';
import { decibels, percent } from './figures-text.ts';
import type { EvaluatedModel, EvaluationReport } from './report.ts';

const barsSchema = z.array(
  z.strictObject({
    recipe: z.string(),
    /** In dB. */
    leastMeanPsnr: z.number(),
    /** Bytes of the shards by those of the same transformer in float16. */
    mostOfFloat16: z.number(),
    /** The recipe whose mean and worst PSNR must be less, at as many bytes. */
    beats: z.string().optional(),
  }),
);

export type QualityBars = z.output<typeof barsSchema>;

/** Scales of transforms may come on top of the bytes of the recipe that is beaten. */
const SAME_BYTES = 1.02;

/** @throws EdgeDitError `invalid-argument` naming the field; `SyntaxError` for what is not JSON */
export function parseBars(text: string, what: string): QualityBars {
  const result = barsSchema.safeParse(JSON.parse(text));
  if (result.success) return result.data;
  const [{ path, message }] = result.error.issues;
  throw new EdgeDitError('invalid-argument', `${what}: ${formatPath(path)}: ${message}.`);
}

/** One line for each bar that is not met; a recipe that was not evaluated meets none. */
export function unmetBars({ models }: EvaluationReport, bars: QualityBars): string[] {
  return bars.flatMap(({ recipe, leastMeanPsnr, mostOfFloat16, beats }) => {
    const model = models.find((one) => one.recipe === recipe);
    if (model === undefined) return [`${recipe}: was not evaluated`];
    const unmet: string[] = [];
    if (!(model.psnr.mean >= leastMeanPsnr)) unmet.push(`mean ${decibels(model.psnr.mean)} dB, below ${leastMeanPsnr}`);
    if (!(model.ratio <= mostOfFloat16))
      unmet.push(`${percent(model.ratio)} of float16, above ${percent(mostOfFloat16)}`);
    if (beats !== undefined) unmet.push(...notBeaten(model, beats, models));
    return unmet.map((line) => `${recipe}: ${line}`);
  });
}

function notBeaten(model: EvaluatedModel, beats: string, models: readonly EvaluatedModel[]): string[] {
  const other = models.find((one) => one.recipe === beats);
  if (other === undefined) return [`${beats}, which it must beat, was not evaluated`];
  const unmet = (['mean', 'worst'] as const)
    .filter((figure) => !(model.psnr[figure] > other.psnr[figure]))
    .map((figure) => `${figure} ${decibels(model.psnr[figure])} dB, ${beats} has ${decibels(other.psnr[figure])}`);
  if (model.bytes > SAME_BYTES * other.bytes) unmet.push(`${model.bytes} bytes, ${beats} has ${other.bytes}`);
  return unmet;
}
