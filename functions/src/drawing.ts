/** The pictures of one request, one after another, while it has its turn. Knows nothing of HTTP. */
import { encodePng } from '@edge-dit/runtime/picture';
import type { Generated, GenerateStep, Pipeline } from '@edge-dit/runtime/pipeline';
import { encodeBase64 } from 'hono/utils/encode';
import type { PictureData, Pictures } from './api/answers.ts';
import type { Endpoint } from './app-env.ts';
import type { ParsedRequest } from './generate-request.ts';

export interface DrawnPicture {
  readonly generated: Generated;
  readonly png: Uint8Array;
}

export interface Drawing {
  readonly pipeline: Pipeline;
  readonly pictures: readonly DrawnPicture[];
  /** Milliseconds by stage, of all pictures. */
  readonly timings: Readonly<Record<string, number>>;
}

export interface DrawingHooks {
  readonly signal: AbortSignal;
  readonly onStep?: (progress: DrawingProgress, report: GenerateStep) => void | Promise<void>;
}

export interface DrawingProgress {
  /** From 0. */
  readonly picture: number;
  readonly pictures: number;
  /** Steps done of this picture, and of how many. */
  readonly step: number;
  readonly of: number;
  /** Seconds that all pictures still take, by the steps so far; null until one was timed. */
  readonly eta: number | null;
}

export const seedsOf = ({ request, n }: Pick<ParsedRequest, 'request' | 'n'>): number[] =>
  Array.from({ length: n }, (_, i) => request.seed + i);

export async function draw(endpoint: Endpoint, parsed: ParsedRequest, hooks: DrawingHooks): Promise<Drawing> {
  const { models, metrics } = endpoint;
  const seeds = seedsOf(parsed);
  const pictures: DrawnPicture[] = [];
  const timings: Record<string, number> = {};
  const add = (name: string, ms: number) => (timings[name] = (timings[name] ?? 0) + ms);
  let pipeline!: Pipeline;
  let [firstStep, done] = [0, 0];
  for (const [picture, seed] of seeds.entries()) {
    const onStep = async (step: number, of: number, report: GenerateStep) => {
      countStep(metrics);
      if (done++ === 0) firstStep = performance.now();
      const left = of * seeds.length - done;
      const eta = done < 2 ? null : ((performance.now() - firstStep) / (done - 1) / 1000) * left;
      await hooks.onStep?.({ picture, pictures: seeds.length, step, of, eta: eta && Number(eta.toFixed(2)) }, report);
    };
    const result = await models.generate(parsed.model, { ...parsed.request, seed }, { signal: hooks.signal, onStep });
    pipeline = result.pipeline;
    for (const [name, ms] of Object.entries(result.generated.timings)) add(name, ms);
    const start = performance.now();
    pictures.push({ generated: result.generated, png: encodePng(result.generated) });
    add('png', performance.now() - start);
    metrics.add('edge_dit_pictures_total', 'Pictures that were finished.');
  }
  return { pipeline, pictures, timings };
}

/** Longer side of a preview. */
export const PREVIEW_SIDE = 64;
/** About so many of a picture, none after the last step, of which there is the picture itself. */
const PREVIEWS = 8;
export const previewIsDue = (step: number, steps: number): boolean =>
  step < steps && step % Math.ceil(steps / PREVIEWS) === 0;

export const countStep = (metrics: Endpoint['metrics']) =>
  metrics.add('edge_dit_steps_total', 'Denoising steps that were computed.');

export const pictureData = (png: Uint8Array, size: { readonly width: number; readonly height: number }, seed: number) =>
  ({
    seed,
    width: size.width,
    height: size.height,
    content_type: 'image/png',
    data: encodeBase64(png.slice().buffer),
  }) satisfies PictureData;

export function picturesAnswer({ pipeline, pictures, timings }: Drawing): Pictures {
  const [{ generated }] = pictures;
  return {
    model: pipeline.manifest.model,
    model_digest: pipeline.digest,
    steps: generated.steps,
    guidance: generated.guidance,
    pictures: pictures.map(({ generated, png }) => pictureData(png, generated, generated.seed)),
    timings: Object.fromEntries(Object.entries(timings).map(([name, ms]) => [name, Number(ms.toFixed(1))])),
  };
}
