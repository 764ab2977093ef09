/** Samples to pictures, and pictures to files. */
import { EdgeDitError } from './errors.ts';
import { pngOf } from './png.ts';

export interface Picture {
  readonly width: number;
  readonly height: number;
  /** Row by row, 3 bytes a pixel. */
  readonly rgb: Uint8Array;
}

/** A sample [3, height, width] of values in -1..1 (others are cut off) as a picture; one channel is grey. */
export function pictureOf(values: Float32Array, channels: number, height: number, width: number): Picture {
  if (channels !== 3 && channels !== 1) {
    throw new EdgeDitError('config-unsupported', `a picture has 3 channels or 1, this sample has ${channels}.`);
  }
  const pixels = height * width;
  const rgb = new Uint8Array(3 * pixels);
  for (let i = 0; i < pixels; i++) {
    for (let c = 0; c < 3; c++) {
      const value = values[(channels === 3 ? c : 0) * pixels + i];
      rgb[3 * i + c] = Math.floor((Math.min(1, Math.max(-1, value)) + 1) * 127.5 + 0.5);
    }
  }
  return { width, height, rgb };
}

/** PNG bytes, the same on every host. */
export function encodePng({ width, height, rgb }: Picture): Uint8Array {
  return pngOf(width, height, rgb);
}
