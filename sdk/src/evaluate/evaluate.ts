/**
 * Published models and requests in, how far their pictures are from a float network's out. The same requests, and so the
 * same noise, go to all of them. Pictures are kept in a folder; what is there is not computed again.
 */
import { availableParallelism, cpus, release, type } from 'node:os';
import { EdgeDitError } from '@edge-dit/runtime/errors';
import { canonicalJson } from '@edge-dit/runtime/format/json';
import type { Manifest } from '@edge-dit/runtime/format/manifest';
import { loadManifest } from '@edge-dit/runtime/load-manifest';
import { describeModel } from '../describe-model.ts';
import { openStore } from '../stores.ts';
import { distributionOf, quantile } from './distribution.ts';
import type { EvaluationRequests } from './evaluation-requests.ts';
import { generatePictures, type PictureJob } from './generate-pictures.ts';
import { gmsd } from './gmsd.ts';
import { type KeptPicture, PictureCache } from './picture-cache.ts';
import { psnr } from './psnr.ts';
import type { EvaluatedModel, EvaluationReport } from './report.ts';
import { ssim } from './ssim.ts';

/** A model and the store that holds it, as `openStore` takes it. */
export interface ModelPlace {
  readonly place: string;
  readonly model: string;
}

export interface EvaluateOptions {
  /** What models are compared with: `publishFloatReference` makes one of a checkpoint. */
  readonly reference: ModelPlace;
  readonly models: readonly ModelPlace[];
  readonly requests: EvaluationRequests;
  /** Where pictures are kept. */
  readonly folder: string;
  /** Pictures at once. Default: one for each core. */
  readonly threads?: number;
  readonly signal?: AbortSignal;
  /** How many of those that were not kept are finished; first with none. */
  readonly onPicture?: (done: number, total: number) => void;
}

export interface Evaluation {
  readonly report: EvaluationReport;
  /** How many pictures were computed now, and how many were there. */
  readonly computed: number;
  readonly kept: number;
  readonly cache: PictureCache;
  /** A picture of the model with that digest, for that request. */
  picture(digest: string, index: number): Promise<KeptPicture>;
}

interface OpenedModel extends ModelPlace {
  readonly manifest: Manifest;
  readonly digest: string;
}

/**
 * @throws EdgeDitError `invalid-argument` for a model of another network than the reference's; what loading and generating
 *   raise; `aborted`, after which a further call goes on where this one was
 */
export async function evaluate(options: EvaluateOptions): Promise<Evaluation> {
  const { requests, threads = availableParallelism(), signal } = options;
  const reference = await openModel(options.reference, signal);
  const models: OpenedModel[] = [];
  for (const place of options.models) models.push(await openModel(place, signal));
  for (const model of models) refuseOtherNetworks(model, reference);
  const cache = await PictureCache.open(options.folder);
  const made = await computeMissing([reference, ...models], cache, { ...options, threads });
  const picture = (digest: string, index: number) => cache.read(digest, requests.list[index]);
  const costs = new Map([reference, ...models].map(({ digest }) => [digest, new Costs()]));
  const figures = models.map((): EvaluatedModel['pictures'] => []);
  for (const index of requests.list.keys()) {
    const read = async (digest: string) => {
      const kept = await picture(digest, index);
      costs.get(digest)!.add(kept);
      return kept;
    };
    const exact = await read(reference.digest);
    for (const [i, { digest }] of models.entries()) {
      const got = digest === reference.digest ? exact : await read(digest);
      figures[i].push({ psnr: psnr(got.values, exact.values), ssim: ssim(exact, got), gmsd: gmsd(exact, got) });
    }
  }
  return {
    ...made,
    cache,
    picture,
    report: {
      format: 'edge-dit-evaluation',
      version: 1,
      date: new Date().toISOString(),
      machine: {
        cpu: cpus()[0].model.trim(),
        cores: cpus().length,
        system: `${type()} ${release()}`,
        node: process.version,
      },
      threads,
      steps: requests.steps,
      guidance: requests.guidance,
      requests: requests.conditions.map((condition, i) => ({ condition, seed: requests.list[i].seed })),
      reference: { model: reference.model, digest: reference.digest, ...costs.get(reference.digest)!.summary() },
      models: models.map((model, i) => reportOf(model, costs.get(model.digest)!, figures[i])),
    },
  };
}

async function openModel({ place, model }: ModelPlace, signal?: AbortSignal): Promise<OpenedModel> {
  return { place, model, ...(await loadManifest(openStore(place), model, { signal })) };
}

function refuseOtherNetworks({ model, manifest }: OpenedModel, reference: OpenedModel): void {
  const networkOf = ({ architecture, config, sampler }: Manifest) => canonicalJson({ architecture, config, sampler });
  if (networkOf(manifest) === networkOf(reference.manifest)) return;
  throw new EdgeDitError(
    'invalid-argument',
    `${model} has another architecture, config or sampler than ${reference.model}, with which it would be compared; give the checkpoint that it was made of.`,
  );
}

async function computeMissing(
  models: readonly OpenedModel[],
  cache: PictureCache,
  { requests, threads, signal, onPicture }: EvaluateOptions,
): Promise<Pick<Evaluation, 'computed' | 'kept'>> {
  const seen = new Set<string>();
  const jobs: (PictureJob & { readonly digest: string })[] = [];
  for (const { place, model, digest } of models) {
    if (seen.has(digest)) continue;
    seen.add(digest);
    for (const request of requests.list) {
      if (!cache.has(digest, request)) jobs.push({ place, model, digest, request });
    }
  }
  let done = 0;
  onPicture?.(done, jobs.length);
  await generatePictures({
    jobs,
    threads,
    signal,
    onPicture: (picture, index) => {
      cache.write(jobs[index].digest, jobs[index].request, picture);
      onPicture?.(++done, jobs.length);
    },
  });
  return { computed: jobs.length, kept: seen.size * requests.list.length - jobs.length };
}

/** What the pictures of a model took. */
class Costs {
  readonly #engines = new Set<string>();
  readonly #msPerStep: number[] = [];
  #peakBytes = 0;

  add({ engine, msPerStep, peakBytes }: KeptPicture): void {
    this.#engines.add(engine);
    this.#msPerStep.push(msPerStep);
    this.#peakBytes = Math.max(this.#peakBytes, peakBytes);
  }

  summary(): { engines: string[]; msPerStep: number; peakBytes: number } {
    const sorted = [...this.#msPerStep].sort((a, b) => a - b);
    return { engines: [...this.#engines].sort(), msPerStep: quantile(sorted, 0.5), peakBytes: this.#peakBytes };
  }
}

function reportOf(
  { model, manifest, digest }: OpenedModel,
  costs: Costs,
  pictures: EvaluatedModel['pictures'],
): EvaluatedModel {
  const { recipe, shards, floatBytes16, ratio } = describeModel(manifest, digest);
  const all = (metric: 'psnr' | 'ssim' | 'gmsd') => pictures.map((picture) => picture[metric]);
  return {
    model,
    recipe,
    digest,
    ...costs.summary(),
    bytes: shards.bytes,
    floatBytes16,
    ratio,
    psnr: distributionOf(all('psnr'), 'larger'),
    ssim: distributionOf(all('ssim'), 'larger'),
    gmsd: distributionOf(all('gmsd'), 'smaller'),
    pictures,
  };
}
