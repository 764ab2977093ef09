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

/** As `pictureOf`, shrunk by averages of squares until neither side is longer than `side` pixels. */
export function thumbnailOf(
  values: Float32Array,
  channels: number,
  height: number,
  width: number,
  side: number,
): Picture {
  const factor = Math.max(1, Math.ceil(Math.max(height, width) / side));
  const [rows, columns] = [Math.max(1, Math.floor(height / factor)), Math.max(1, Math.floor(width / factor))];
  const [squareRows, squareColumns] = [Math.min(factor, height), Math.min(factor, width)];
  const small = new Float32Array(channels * rows * columns);
  small.forEach((_, i) => {
    const channel = Math.floor(i / (rows * columns));
    const y = factor * (Math.floor(i / columns) % rows);
    const x = factor * (i % columns);
    for (let dy = 0; dy < squareRows; dy++) {
      for (let dx = 0; dx < squareColumns; dx++) small[i] += values[(channel * height + y + dy) * width + x + dx];
    }
    small[i] /= squareRows * squareColumns;
  });
  return pictureOf(small, channels, rows, columns);
}

/** PNG bytes, the same on every host. */
export function encodePng({ width, height, rgb }: Picture): Uint8Array {
  return pngOf(width, height, rgb);
}
