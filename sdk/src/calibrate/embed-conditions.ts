/** Prompts and classes to what a transformer is told about a picture of the size on which it was trained. */
import { readFile } from 'node:fs/promises';
import { EdgeDitError } from '@edge-dit/runtime/errors';
import type { Conditions, Geometry } from '@edge-dit/runtime/models/architecture';
import { createNodeOrtRuntime } from '@edge-dit/runtime/onnx/ort-node';
import type { TextEmbedding } from '@edge-dit/runtime/text/conditioning';
import { OnnxTextEncoder } from '@edge-dit/runtime/text/onnx-text-encoder';
import type { Checkpoint } from '../checkpoint/checkpoint.ts';
import { readTokenizer } from '../checkpoint/tokenizer-file.ts';

/** A guided request: the unconditional half, then the condition; else the condition alone. */
export type Embed = (condition: string | number, guided: boolean) => Promise<Conditions>;

/** @throws `checkpoint-not-found` when a model of texts has no text encoder */
export function embedder({ files, path }: Checkpoint, geometry: Geometry): Embed {
  const { conditioning, sampleSize } = geometry;
  const sizes = (guided: boolean) => {
    return { batch: guided ? 2 : 1, frames: 1, height: sampleSize, width: sampleSize };
  };
  if (conditioning.kind === 'class') {
    return async (condition, guided) => {
      return { ...sizes(guided), labels: guided ? [conditioning.classes, Number(condition)] : [Number(condition)] };
    };
  }
  const { tokenizer, textEncoder } = files;
  if (!tokenizer || !textEncoder) {
    throw new EdgeDitError(
      'checkpoint-not-found',
      `checkpoint "${path}" has no tokenizer and ONNX text encoder, which calibration on prompts needs; quantize without prompts.`,
    );
  }
  const encoder = new OnnxTextEncoder({
    runtime: createNodeOrtRuntime(),
    loadModel: async () => new Uint8Array(await readFile(textEncoder)),
    loadTokenizer: () => readTokenizer(tokenizer),
  });
  const micro = ({ count }: TextEmbedding) => {
    if (!conditioning.microConditions) return {};
    return {
      resolution: new Float32Array(2 * count).fill(sampleSize),
      aspectRatio: new Float32Array(count).fill(1),
    };
  };
  return async (condition, guided) => {
    const text = await encoder.encode(guided ? ['', String(condition)] : [String(condition)]);
    return { ...sizes(guided), text, ...micro(text) };
  };
}
