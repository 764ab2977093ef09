/** A pipeline in, its entry of `GET /models` out: what a client has to know to ask for a picture. */
import { architectureByName } from '@edge-dit/runtime/models/index';
import type { Pipeline } from '@edge-dit/runtime/pipeline';
import { PROMPTING, type Prompting, promptingOf } from '@edge-dit/runtime/prompting';

export interface ModelDescription {
  readonly id: string;
  /** SHA-256 of the manifest: names this very version. */
  readonly digest: string;
  readonly architecture: string;
  /** How it was quantized; null where it was not. */
  readonly recipe: string | null;
  /** What an isolate fetches before the first picture. */
  readonly bytes: { readonly shards: number; readonly files: number };
  /** Pixels that a picture has without `width` and `height`; other sizes are multiples of `multipleOf`. */
  readonly size: {
    readonly width: number;
    readonly height: number;
    readonly multipleOf: number;
    readonly fixed: boolean;
  };
  readonly defaults: { readonly steps: number; readonly guidance: number };
  readonly conditioning:
    | { readonly type: 'text'; readonly maxTokens: number }
    | { readonly type: 'class'; readonly count: number; readonly names?: readonly string[] };
  /** How it likes to be asked, where its publisher said. */
  readonly prompting?: Prompting;
  readonly license?: string;
  readonly attribution?: string;
}

export function describeModel({ manifest, digest }: Pipeline): ModelDescription {
  const { architecture, config, defaults, pipeline, quantization, shards, files, license, attribution } = manifest;
  const { sampleSize, patchSize, fixedSize } = architectureByName(architecture).configure(config).geometry;
  const factor = pipeline.vae?.spatialFactor ?? 1;
  const { conditioning } = pipeline;
  return {
    id: manifest.model,
    digest,
    architecture,
    recipe: quantization?.recipe ?? null,
    bytes: { shards: totalLength(shards), files: totalLength(files) },
    size: {
      width: factor * sampleSize,
      height: factor * sampleSize,
      multipleOf: factor * patchSize,
      fixed: fixedSize,
    },
    defaults,
    conditioning:
      conditioning.type === 'text'
        ? { type: 'text', maxTokens: conditioning.maxTokens }
        : { type: 'class', count: conditioning.count, names: conditioning.names },
    prompting: promptingOf(manifest[PROMPTING]),
    license,
    attribution,
  };
}

const totalLength = (records: readonly { readonly length: number }[]) =>
  records.reduce((sum, { length }) => sum + length, 0);
