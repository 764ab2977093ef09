/** The inputs of one denoising step, the same numbers for our engines and for onnxruntime. */
import type { Conditions, Geometry } from '@edge-dit/runtime/models/architecture';
import type { Feed } from './ort-session.ts';
import type { StepWork } from './parts.ts';
import { randomFloats } from './random-values.ts';

export interface StepInputs {
  /** [batch, channels, 1, height, width], every row the same sample, as with guidance. */
  readonly sample: Float32Array;
  readonly timesteps: Float32Array;
  readonly conditions: Conditions;
  /** As diffusers' forward names them. */
  readonly feeds: Readonly<Record<string, Feed>>;
}

/** In the middle of a schedule of 1000. */
const TIMESTEP = 500;

export function stepInputs({ inChannels, sampleSize: side, conditioning }: Geometry, work: StepWork): StepInputs {
  const { batch, tokens } = work;
  const one = randomFloats(inChannels * side * side, 3);
  const sample = new Float32Array(batch * one.length);
  for (let row = 0; row < batch; row++) sample.set(one, row * one.length);
  const timesteps = new Float32Array(batch).fill(TIMESTEP);
  const size = { batch, frames: 1, height: side, width: side };
  const feeds: Record<string, Feed> = {
    sample: ['float32', sample, [batch, inChannels, side, side]],
    timestep: ['float32', timesteps, [batch]],
  };
  if (conditioning.kind === 'class') {
    const labels = Array.from({ length: batch }, (_, row) => (row === 0 ? conditioning.classes : 0));
    feeds.class_labels = ['int64', BigInt64Array.from(labels, BigInt), [batch]];
    return { sample, timesteps, conditions: { ...size, labels }, feeds };
  }
  const { channels, microConditions } = conditioning;
  const data = randomFloats(batch * tokens * channels, 5);
  // The first row is short, as the empty prompt is.
  const mask = Int32Array.from({ length: batch * tokens }, (_, i) => Number(i >= tokens || i < (tokens + 3) >> 2));
  const text = { count: batch, tokens, channels, data, mask };
  feeds.encoder_hidden_states = ['float32', data, [batch, tokens, channels]];
  feeds.encoder_attention_mask = ['int64', BigInt64Array.from(mask, BigInt), [batch, tokens]];
  if (!microConditions) return { sample, timesteps, conditions: { ...size, text }, feeds };
  const resolution = new Float32Array(2 * batch).fill(side);
  const aspectRatio = new Float32Array(batch).fill(1);
  feeds.resolution = ['float32', resolution, [batch, 2]];
  feeds.aspect_ratio = ['float32', aspectRatio, [batch, 1]];
  return { sample, timesteps, conditions: { ...size, text, resolution, aspectRatio }, feeds };
}
