/**
 * What an evaluation found, as `report.json` holds it. JSON has no infinity: a PSNR of null is that of equal pictures, and
 * becomes `Infinity` again when a report is read.
 */
import { EdgeDitError } from '@edge-dit/runtime/errors';
import { formatPath } from '@edge-dit/runtime/format/json';
import { z } from 'zod';

const finite = z.number();
/** In dB. */
const decibels = z.union([z.number(), z.null().transform(() => Number.POSITIVE_INFINITY)]);

const distributionOf = <T extends z.ZodType<number>>(figure: T) =>
  z.strictObject({
    mean: figure,
    worst: figure,
    quantiles: z.strictObject({ p5: figure, p25: figure, p50: figure, p75: figure, p95: figure }),
  });

const costSchema = {
  /** SHA-256 of the manifest. */
  digest: z.string(),
  /** Names of the engines that made its pictures. */
  engines: z.array(z.string()),
  /** Median; with several pictures computed at once, as in the evaluation. */
  msPerStep: finite,
  /** Most that the runtime's meter counted at once, text encoder and decoder included. */
  peakBytes: finite,
};

/** Of the pictures of one model, see text-agreement.ts. */
const textAgreementSchema = z.strictObject({ share: finite, meanMarginDb: finite });

/** Of the pictures of one model, see class-model.ts. */
const classAgreementSchema = z.strictObject({
  frechetToTests: finite,
  frechetToReference: finite,
  agreesWithClass: finite,
  agreesWithReference: finite,
});

const agreementSchema = {
  textAgreement: textAgreementSchema.optional(),
  classAgreement: classAgreementSchema.optional(),
};

const modelSchema = z.strictObject({
  model: z.string(),
  recipe: z.string().optional(),
  ...costSchema,
  /** Of the shards. */
  bytes: finite,
  /** Of the same transformer in float16. */
  floatBytes16: finite,
  /** The one by the other. */
  ratio: finite,
  psnr: distributionOf(decibels),
  ssim: distributionOf(finite),
  gmsd: distributionOf(finite),
  ...agreementSchema,
  /** In the order of the report's requests. */
  pictures: z.array(z.strictObject({ psnr: decibels, ssim: finite, gmsd: finite })),
});

const reportSchema = z.strictObject({
  format: z.literal('edge-dit-evaluation'),
  version: z.literal(1),
  date: z.string(),
  machine: z.strictObject({ cpu: z.string(), cores: finite, system: z.string(), node: z.string() }),
  /** Pictures computed at once. */
  threads: finite,
  steps: finite,
  guidance: finite,
  requests: z.array(z.strictObject({ condition: z.union([z.string(), z.number()]), seed: finite })),
  /** What the models are compared with. */
  reference: z.strictObject({
    ...costSchema,
    model: z.string(),
    ...agreementSchema,
  }),
  /** Where a classifier judged: how many pictures of each model, and how it does on the real ones. */
  classes: z
    .strictObject({
      pictures: finite,
      tests: z.strictObject({ pictures: finite, accuracy: finite }),
    })
    .optional(),
  models: z.array(modelSchema),
});

export type EvaluationReport = z.output<typeof reportSchema>;
export type EvaluatedModel = EvaluationReport['models'][number];

/**
 * @param what names the report in messages
 * @throws EdgeDitError `invalid-argument` naming the field that is not a report's
 */
export function parseReport(text: string, what: string): EvaluationReport {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new EdgeDitError('invalid-argument', `${what} is not JSON; give the report.json of "edge-dit eval".`, {
      cause,
    });
  }
  const result = reportSchema.safeParse(json);
  if (result.success) return result.data;
  const [{ path, message }] = result.error.issues;
  throw new EdgeDitError(
    'invalid-argument',
    `${what} is not a report of this version of "edge-dit eval": ${formatPath(path)}: ${message}.`,
  );
}

export const serializeReport = (report: EvaluationReport): string => `${JSON.stringify(report, null, 1)}\n`;
