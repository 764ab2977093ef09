/**
 * Latents to pictures by the ONNX decoder of a VAE. In: latents as the sampler leaves them. Out: floats about -1..1,
 * not clamped. Pictures are decoded one at a time: the memory is that of one, and none depends on its neighbours.
 */
import { EdgeDitError } from '../errors.ts';
import type { OnnxRuntime, OnnxSession } from './onnx-runtime.ts';

/** `z = latents / scaling + shift` is what the decoder takes. */
export interface VaeFactors {
  readonly scaling: number;
  readonly shift: number;
}

/** Row-major [count, channels, height, width]. */
export interface ImageBatch {
  readonly shape: readonly [count: number, channels: number, height: number, width: number];
  readonly data: Float32Array;
}

/**
 * The factors of a diffusers VAE config (`AutoencoderKL`).
 * @throws `config-unsupported` when they are missing, or are per channel
 */
export function vaeFactors(config: Readonly<Record<string, unknown>>): VaeFactors {
  const { scaling_factor: scaling, shift_factor: shift = null, latents_mean: mean = null } = config;
  if (mean !== null) {
    throw new EdgeDitError('config-unsupported', 'vae config: latents_mean (per channel) is not implemented.');
  }
  if (typeof scaling !== 'number' || !Number.isFinite(scaling) || scaling === 0) {
    throw new EdgeDitError('config-unsupported', `vae config: scaling_factor is ${scaling}, expected a number.`);
  }
  if (shift !== null && (typeof shift !== 'number' || !Number.isFinite(shift))) {
    throw new EdgeDitError('config-unsupported', `vae config: shift_factor is ${shift}, expected a number or null.`);
  }
  return { scaling, shift: shift ?? 0 };
}

export interface OnnxVaeDecoderOptions {
  readonly runtime: OnnxRuntime;
  /** The ONNX file: one input [1, c, h, w], one output [1, channels, H, W]. Its bytes are dropped when loaded. */
  readonly loadModel: () => Promise<Uint8Array>;
  readonly factors: VaeFactors;
}

export class OnnxVaeDecoder {
  readonly #options: OnnxVaeDecoderOptions;
  #session: Promise<OnnxSession> | undefined;

  constructor(options: OnnxVaeDecoderOptions) {
    this.#options = options;
  }

  /** @throws `invalid-argument`; `onnx-failed` for a model of another form; `memory-exceeded`; `non-finite`; `aborted` */
  async decode(latents: ImageBatch, signal?: AbortSignal): Promise<ImageBatch> {
    const [count, ...latentShape] = latents.shape;
    const latentSize = latentShape.reduce((product, size) => product * size, 1);
    if (count < 1 || latents.data.length !== count * latentSize) {
      throw new EdgeDitError(
        'invalid-argument',
        `latents [${latents.shape}] have ${latents.data.length} values, expected at least one picture and ${count * latentSize}.`,
      );
    }
    const { scaling, shift } = this.#options.factors;
    const images: ImageBatch[] = [];
    for (let i = 0; i < count; i++) {
      if (signal?.aborted) {
        throw new EdgeDitError('aborted', 'decoding the latents was cancelled.', { cause: signal.reason });
      }
      const z = latents.data.slice(i * latentSize, (i + 1) * latentSize).map((value) => value / scaling + shift);
      images.push(await this.#decodeOne(z, [1, ...latentShape]));
    }
    const [, channels, height, width] = images[0].shape;
    const data = new Float32Array(count * images[0].data.length);
    for (const [i, image] of images.entries()) data.set(image.data, i * image.data.length);
    return { shape: [count, channels, height, width], data };
  }

  /** Frees the model inside the engine; the next picture loads it again. */
  async release(): Promise<void> {
    const session = this.#session;
    this.#session = undefined;
    await (await session)?.release();
  }

  async #decodeOne(z: Float32Array, dims: readonly number[]): Promise<ImageBatch> {
    this.#session ??= this.#load();
    const session = await this.#session.catch((error) => {
      this.#session = undefined;
      throw error;
    });
    const result = (await session.run({ [session.inputs[0]]: { type: 'float32', dims, data: z } }))[session.outputs[0]];
    const [count, channels, height, width] = result.dims;
    if (result.type !== 'float32' || result.dims.length !== 4 || count !== 1) {
      throw new EdgeDitError(
        'onnx-failed',
        `VAE decoder: output is ${result.type} [${result.dims}], expected float32 [1, channels, height, width].`,
      );
    }
    if (!result.data.every(Number.isFinite)) {
      throw new EdgeDitError('non-finite', 'VAE decoder: the picture holds NaN or infinity.');
    }
    return { shape: [1, channels, height, width], data: result.data };
  }

  async #load(): Promise<OnnxSession> {
    const session = await this.#options.runtime.load(await this.#options.loadModel(), 'the VAE decoder');
    if (session.inputs.length === 1 && session.outputs.length === 1) return session;
    await session.release();
    throw new EdgeDitError(
      'onnx-failed',
      `VAE decoder: takes ${session.inputs.join(', ')} and gives ${session.outputs.join(', ')}; expected one of each.`,
    );
  }
}
