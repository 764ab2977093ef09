/** A report as Markdown: what was asked, a row for each model in a table for each question, what the figures mean. */
import { decibels, markdownTable, megabytes, milliseconds, percent, similarity } from './figures-text.ts';
import type { EvaluatedModel, EvaluationReport } from './report.ts';

export function reportMarkdown(report: EvaluationReport): string {
  const { requests, steps, guidance, reference, machine, threads, models, classes } = report;
  const conditions = [...new Set(requests.map(({ condition }) => condition))];
  const [noun, nouns] = typeof conditions[0] === 'string' ? ['prompt', 'prompts'] : ['class', 'classes'];
  const seeds =
    requests.length > 1 ? `seeds ${requests[0].seed} to ${requests.at(-1)!.seed}` : `seed ${requests[0].seed}`;
  const engines = [...new Set(models.flatMap((model) => model.engines))].join(', ');
  return [
    '# Pictures of quantized models against float32',
    '',
    `${requests.length} ${requests.length === 1 ? 'picture' : 'pictures'} of ${conditions.length} ${conditions.length === 1 ? noun : nouns}, steps ${steps}, guidance ${guidance}, ${seeds}; the same noise for all. Compared with ${reference.model} (${reference.digest.slice(0, 12)}), which takes ${milliseconds(reference.msPerStep)} ms a step and ${megabytes(reference.peakBytes)} MB.`,
    '',
    ...reportTables(report),
    '',
    'PSNR: 10 log10(4 / MSE) of values from -1 to 1, in dB. SSIM: Wang et al. 2004, 1 for equal pictures. GMSD: the perceptual distance, deviation of the similarity of gradients, Xue et al. 2014, 0 for equal pictures. p5: 5 of a hundred pictures are below.',
    ...(reference.textAgreement
      ? ['Text: pictures whose own caption, of four, explains them best to the float network; margin: by how much.']
      : []),
    ...(classes
      ? [
          `Classes: ${classes.pictures} pictures of each model, by a classifier that is right on ${percent(classes.tests.accuracy)} of ${classes.tests.pictures} real ones.`,
        ]
      : []),
    `A step is timed as the median over the pictures, ${threads} computed at once, on ${machine.cores} cores of ${machine.cpu}, Node ${machine.node}, ${engines}. Peak: by the runtime's meter, with what encodes the text and decodes the picture.`,
    '',
  ].join('\n');
}

/** What the pictures are like, what they cost, and what judges say of them. */
export function reportTables({ models, reference }: EvaluationReport): string[] {
  const tables = [qualityTable(models), costTable(models), agreementTable([reference, ...models])];
  return tables.filter((table) => table.length > 0).flatMap((table, i) => (i === 0 ? table : ['', ...table]));
}

function qualityTable(models: readonly EvaluatedModel[]): string[] {
  const psnrs = ['PSNR mean', 'worst', 'p5', 'median', 'p95'];
  return markdownTable(
    ['model', ...psnrs, 'SSIM mean', 'worst', 'GMSD mean', 'worst'],
    models.map(({ model, psnr, ssim, gmsd }) => [
      model,
      ...[psnr.mean, psnr.worst, psnr.quantiles.p5, psnr.quantiles.p50, psnr.quantiles.p95].map(decibels),
      ...[ssim.mean, ssim.worst, gmsd.mean, gmsd.worst].map(similarity),
    ]),
  );
}

function costTable(models: readonly EvaluatedModel[]): string[] {
  return markdownTable(
    ['model', 'recipe', 'shards, MB', 'of float16', 'ms a step', 'peak, MB'],
    models.map(({ model, recipe, bytes, ratio, msPerStep, peakBytes }) => [
      model,
      recipe ?? '',
      megabytes(bytes),
      percent(ratio),
      milliseconds(msPerStep),
      megabytes(peakBytes),
    ]),
  );
}

/** Of the reference too: it is the measure of what can be reached. Models that were not judged are left out. */
function agreementTable(all: readonly (EvaluationReport['reference'] | EvaluatedModel)[]): string[] {
  const [{ textAgreement, classAgreement }] = all;
  const models = all.filter((one) => one.textAgreement ?? one.classAgreement);
  if (!textAgreement && !classAgreement) return [];
  return markdownTable(
    [
      'model',
      ...(textAgreement ? ['text agrees', 'margin, dB'] : []),
      ...(classAgreement ? ['Frechet to real', 'to float32', 'class agrees', 'as float32'] : []),
    ],
    models.map(({ model, textAgreement: text, classAgreement: classes }) => [
      model,
      ...(text ? [percent(text.share), text.meanMarginDb.toFixed(2)] : []),
      ...(classes
        ? [
            classes.frechetToTests.toFixed(3),
            classes.frechetToReference.toFixed(3),
            percent(classes.agreesWithClass),
            percent(classes.agreesWithReference),
          ]
        : []),
    ]),
  );
}
