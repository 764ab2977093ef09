/** What a request asks of a model, checked against it: sizes and numbers that are left out are the model's own. */
import { EdgeDitError, isEdgeDitError } from './errors.ts';
import type { Manifest } from './format/manifest.ts';
import type { Geometry } from './models/architecture.ts';
import { createSampler } from './samplers/index.ts';
import type { TextEmbedding } from './text/conditioning.ts';

export interface GenerateRequest {
  readonly prompt?: string;
  readonly negativePrompt?: string;
  /** Precomputed embeddings instead of prompts: one row, of the prompt and of the negative prompt. */
  readonly embedding?: { readonly prompt: TextEmbedding; readonly negative: TextEmbedding };
  /** Index or name of a class. */
  readonly class?: number | string;
  /** 0 to 2^53 - 1. */
  readonly seed: number;
  readonly steps?: number;
  readonly guidance?: number;
  /** Pixels; the model's own size without them. */
  readonly width?: number;
  readonly height?: number;
}

/** The numbers of a request, none left out. */
export interface SettledRequest {
  readonly steps: number;
  readonly guidance: number;
  /** Of the sample: pixels divided by the VAE's factor. */
  readonly height: number;
  readonly width: number;
  /** Pixels a unit of the sample. */
  readonly unit: number;
  readonly microConditions: boolean;
  /** For models of classes. */
  readonly label?: number;
}

/** Beyond any published use; keeps hostile values out of the arithmetic. */
const MAX_GUIDANCE = 100;
const MAX_PIXELS = 4096;

/** @throws EdgeDitError `invalid-request` where the request does not fit the model */
export function settleRequest(request: GenerateRequest, manifest: Manifest, geometry: Geometry): SettledRequest {
  const factor = manifest.pipeline.vae?.spatialFactor ?? 1;
  const steps = request.steps ?? manifest.defaults.steps;
  const guidance = request.guidance ?? manifest.defaults.guidance;
  checkSteps(manifest, steps);
  if (!Number.isSafeInteger(request.seed) || request.seed < 0) {
    throw new EdgeDitError('invalid-request', `seed ${request.seed} is not an integer from 0 to 2^53 - 1.`);
  }
  if (!(guidance >= 0 && guidance <= MAX_GUIDANCE)) {
    throw new EdgeDitError('invalid-request', `guidance ${guidance} is not a number from 0 to ${MAX_GUIDANCE}.`);
  }
  const unit = factor * geometry.patchSize;
  const [height, width] = (['height', 'width'] as const).map((side) => {
    const pixels = request[side] ?? factor * geometry.sampleSize;
    if (!Number.isInteger(pixels) || pixels < unit || pixels > MAX_PIXELS || pixels % unit !== 0) {
      throw new EdgeDitError('invalid-request', `${side} ${pixels} is not a multiple of ${unit} up to ${MAX_PIXELS}.`);
    }
    if (geometry.fixedSize && pixels !== factor * geometry.sampleSize) {
      throw new EdgeDitError(
        'invalid-request',
        `${side} ${pixels}: this model makes pictures of ${factor * geometry.sampleSize} only.`,
      );
    }
    return pixels / factor;
  });
  return {
    steps,
    guidance,
    height,
    width,
    unit: factor,
    microConditions: usesMicroConditions(geometry.conditioning),
    label: labelOf(request, manifest),
  };
}

/** Undefined for models of texts. */
function labelOf({ prompt, embedding, class: given }: GenerateRequest, manifest: Manifest): number | undefined {
  const { conditioning } = manifest.pipeline;
  if (conditioning.type === 'class') {
    if (prompt !== undefined)
      throw new EdgeDitError('invalid-request', 'prompt: this model takes a class, not a prompt.');
    return classIndex(given, conditioning.count, conditioning.names);
  }
  if (given !== undefined) throw new EdgeDitError('invalid-request', 'class: this model takes a prompt, not a class.');
  if (prompt === undefined && !embedding)
    throw new EdgeDitError('invalid-request', 'prompt: missing; this model makes pictures from a text.');
  return undefined;
}

function checkSteps({ sampler }: Manifest, steps: number): void {
  try {
    createSampler(sampler, steps);
  } catch (cause) {
    if (!isEdgeDitError(cause, 'invalid-argument')) throw cause;
    throw new EdgeDitError('invalid-request', `steps ${steps}: ${cause.message}`, { cause });
  }
}

const usesMicroConditions = (conditioning: { kind: string; microConditions?: boolean }) =>
  conditioning.microConditions === true;

function classIndex(given: number | string | undefined, count: number, names: readonly string[] | undefined): number {
  const index = typeof given === 'string' ? (names?.indexOf(given) ?? -1) : given;
  if (index !== undefined && Number.isInteger(index) && index >= 0 && index < count) return index;
  const known = names ? ` or one of ${names.slice(0, 20).join(', ')}${names.length > 20 ? ', …' : ''}` : '';
  throw new EdgeDitError('invalid-request', `class: got ${given ?? 'nothing'}, expected 0 to ${count - 1}${known}.`);
}

/** Two embeddings of one row each as one of two rows. */
export function joinEmbeddings(a: TextEmbedding, b: TextEmbedding): TextEmbedding {
  if (a.count !== 1 || b.count !== 1 || a.tokens !== b.tokens || a.channels !== b.channels) {
    throw new EdgeDitError('invalid-request', 'embedding: both must have one row, and the same tokens and channels.');
  }
  const data = new Float32Array([...a.data, ...b.data]);
  return { count: 2, tokens: a.tokens, channels: a.channels, data, mask: new Int32Array([...a.mask, ...b.mask]) };
}
