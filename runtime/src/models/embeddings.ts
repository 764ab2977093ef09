/** Sinusoidal embeddings of timesteps and positions, in the float32 roundings of their first implementations. */
import { cos, exp, log, sin } from '../math.ts';

export const TIMESTEP_CHANNELS = 256;

/**
 * [count, 256] of [cos(t f_i), sin(t f_i)], f_i = 10000^(-i / divisor), i below 128; t and frequencies in float32.
 * The divisor is 128 in PixArt and facebookresearch/DiT, 127 in diffusers' DiT.
 */
export function timestepEmbedding(timesteps: ArrayLike<number>, divisor: number): Float32Array {
  const half = TIMESTEP_CHANNELS / 2;
  const out = new Float32Array(timesteps.length * TIMESTEP_CHANNELS);
  for (let i = 0; i < half; i++) {
    const frequency = Math.fround(exp(Math.fround((-log(10000) * i) / divisor)));
    for (let b = 0; b < timesteps.length; b++) {
      const angle = Math.fround(Math.fround(timesteps[b]) * frequency);
      out[b * TIMESTEP_CHANNELS + i] = cos(angle);
      out[b * TIMESTEP_CHANNELS + half + i] = sin(angle);
    }
  }
  return out;
}

export interface PositionGrid {
  readonly rows: number;
  readonly columns: number;
  /** Rows and columns of the grid that the network was trained on. */
  readonly baseSize: number;
  readonly interpolationScale: number;
}

/** [rows * columns, channels]: first half the column (sin, cos), second half the row, scaled to the trained grid. */
export function positionEmbedding(channels: number, grid: PositionGrid): Float32Array {
  const { rows, columns, baseSize, interpolationScale } = grid;
  const out = new Float32Array(rows * columns * channels);
  const quarter = channels / 4;
  const frequencies = Array.from({ length: quarter }, (_, i) => exp((-log(10000) * i) / quarter));
  for (let y = 0; y < rows; y++) {
    for (let x = 0; x < columns; x++) {
      const at = (y * columns + x) * channels;
      const px = x / (columns / baseSize) / interpolationScale;
      const py = y / (rows / baseSize) / interpolationScale;
      frequencies.forEach((frequency, i) => {
        out[at + i] = sin(px * frequency);
        out[at + quarter + i] = cos(px * frequency);
        out[at + 2 * quarter + i] = sin(py * frequency);
        out[at + 3 * quarter + i] = cos(py * frequency);
      });
    }
  }
  return out;
}
