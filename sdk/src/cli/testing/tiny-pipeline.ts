/**
 * Whole pipelines around the tiny random transformers of the fixtures: a scheduler, and a VAE decoder so small that its
 * arithmetic is one loop. They are in latent space and learn sigma, as the published DiT and PixArt models do.
 */
import { cp, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { writeOnnxModel } from '@edge-dit/runtime/onnx/onnx-writer';
import { float32Tensor, parseSafetensors, serializeSafetensors, toFloat32 } from '@edge-dit/runtime/safetensors';

export const FIXTURES = fileURLToPath(new URL('../../../../runtime/fixtures/diffusers', import.meta.url));
export type TinyName = 'dit' | 'pixart-alpha' | 'pixart-microcond';

export const LATENT_CHANNELS = 4;
export const SCALING = 0.18215;
/** [latent channel, colour, row, column]: every latent becomes 2 x 2 pixels. */
const DECODER_WEIGHTS = Float32Array.from({ length: LATENT_CHANNELS * 3 * 4 }, (_, i) => (((i * 29) % 17) - 8) / 160);

export async function makeTinyPipeline(root: string, name: TinyName): Promise<string> {
  const path = join(root, name);
  await cp(join(FIXTURES, name, 'transformer'), join(path, 'transformer'), { recursive: true });
  await writeJson(path, 'scheduler/scheduler_config.json', { _class_name: 'DDIMScheduler', clip_sample: false });
  await writeJson(path, 'vae_decoder/config.json', { scaling_factor: SCALING, block_out_channels: [8, 16] });
  await writeFile(join(path, 'vae_decoder/model.onnx'), decoder());
  return path;
}

async function writeJson(path: string, name: string, value: unknown): Promise<void> {
  await mkdir(join(path, name, '..'), { recursive: true });
  await writeFile(join(path, name), JSON.stringify(value));
}

function decoder(): Uint8Array {
  return writeOnnxModel({
    name: 'tiny-decoder',
    inputs: [{ name: 'latent_sample', type: 'float32', dims: ['batch', LATENT_CHANNELS, 'height', 'width'] }],
    outputs: [{ name: 'sample', type: 'float32', dims: ['batch', 3, 'pixel_height', 'pixel_width'] }],
    constants: [
      {
        name: 'weight',
        type: 'float32',
        dims: [LATENT_CHANNELS, 3, 2, 2],
        bytes: new Uint8Array(DECODER_WEIGHTS.buffer),
      },
    ],
    nodes: [
      {
        op: 'ConvTranspose',
        inputs: ['latent_sample', 'weight'],
        outputs: ['sample'],
        attributes: { kernel_shape: { ints: [2, 2] }, strides: { ints: [2, 2] } },
      },
    ],
  });
}

/** What the decoder gives, by a loop: latents [4, height, width] to a picture [3, 2 height, 2 width]. */
export function decodePlainly(latents: Float32Array, height: number, width: number): Float32Array {
  const out = new Float32Array(12 * height * width);
  out.forEach((_, i) => {
    const [colour, y, x] = [
      Math.floor(i / (4 * height * width)),
      Math.floor(i / (2 * width)) % (2 * height),
      i % (2 * width),
    ];
    for (let c = 0; c < LATENT_CHANNELS; c++) {
      const latent = latents[(c * height + (y >> 1)) * width + (x >> 1)];
      out[i] += (latent / SCALING) * DECODER_WEIGHTS[(c * 3 + colour) * 4 + (y & 1) * 2 + (x & 1)];
    }
  });
  return out;
}

/** The fixture's text as a file for `generate --embedding`: its first row, and zeros to be led away from. */
export async function writeEmbedding(name: TinyName, path: string): Promise<void> {
  const { tensors } = parseSafetensors(new Uint8Array(await readFile(join(FIXTURES, name, 'io.safetensors'))));
  const { shape, ...context } = tensors.get('in.encoder_hidden_states')!;
  const [, tokens, channels] = shape;
  const prompt = toFloat32({ shape, ...context }).slice(0, tokens * channels);
  const mask = Int32Array.from({ length: tokens }, (_, i) => Number(i < tokens - 2));
  const masks = { dtype: 'I32', shape: [tokens], bytes: new Uint8Array(mask.buffer) } as const;
  const bytes = serializeSafetensors(
    new Map([
      ['prompt', float32Tensor(prompt, [1, tokens, channels])],
      ['prompt_mask', masks],
      ['negative', float32Tensor(new Float32Array(prompt.length), [tokens, channels])],
      ['negative_mask', masks],
    ] as const),
  );
  await writeFile(path, bytes);
}
