/**
 * Many pictures of published models on all cores: one engine of one thread in each worker. Jobs are taken in order, so that
 * a worker loads each model once; pictures are handed over as they are finished, in any order.
 */
import { shareJobs } from '../threads/share-jobs.ts';
import type { GeneratedPicture, PictureJob } from './picture-worker.ts';

export type { GeneratedPicture, PictureJob } from './picture-worker.ts';

export interface GeneratePicturesOptions {
  /** Those of a model one after another. */
  readonly jobs: readonly PictureJob[];
  /** Pictures at once. Default: one for each core. */
  readonly threads?: number;
  readonly signal?: AbortSignal;
  /** That worker's next picture starts when this has ended. */
  readonly onPicture: (picture: GeneratedPicture, index: number) => void | Promise<void>;
}

/**
 * @throws EdgeDitError what the pipeline raises, with the model's name; `precondition-failed` for a model that is no longer
 *   the one of its job's digest; `aborted`
 */
export async function generatePictures({ onPicture, ...options }: GeneratePicturesOptions): Promise<void> {
  const module = new URL('picture-worker.js', import.meta.url);
  await shareJobs<PictureJob, GeneratedPicture>({ ...options, module, data: undefined, onResult: onPicture });
}
