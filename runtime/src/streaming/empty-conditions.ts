/** Conditions that say nothing, of the right sizes: for what is counted or prepared before somebody asks for a picture. */
import type { Manifest } from '../format/manifest.ts';
import type { Conditions, Geometry } from '../models/architecture.ts';

/** @param size of the sample; the model's own without it */
export function emptyConditions(
  { pipeline: { conditioning } }: Pick<Manifest, 'pipeline'>,
  geometry: Geometry,
  batch: number,
  size: { readonly height: number; readonly width: number } = {
    height: geometry.sampleSize,
    width: geometry.sampleSize,
  },
): Conditions {
  const shared = { batch, frames: 1, height: size.height, width: size.width };
  if (conditioning.type !== 'text' || geometry.conditioning.kind !== 'text') {
    return { ...shared, labels: new Array<number>(batch).fill(0) };
  }
  const { maxTokens: tokens } = conditioning;
  const { channels } = geometry.conditioning;
  const mask = new Int32Array(batch * tokens).fill(1);
  return {
    ...shared,
    text: { count: batch, tokens, channels, data: new Float32Array(batch * tokens * channels), mask },
    resolution: new Float32Array(2 * batch),
    aspectRatio: new Float32Array(batch),
  };
}
