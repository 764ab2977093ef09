/**
 * The perceptual distance of this project: gradient magnitude similarity deviation. Edges are what people see first, and
 * uneven damage to them is what they mind. It needs no trained network, so the same pictures have the same distance
 * everywhere and for ever, and no pyramid, which pictures of 32 pixels have no room for (multi-scale SSIM needs 176).
 */
import { EdgeDitError } from '@edge-dit/runtime/errors';
import { channelsOf, type PictureValues, valuesPair } from './picture-values.ts';

/** Of the published code, for luminance from 0 to 255. */
const STABILITY = 170;
/** ITU-R BT.601, as the published code's rgb2gray has it. */
const LUMINANCE = [0.299, 0.587, 0.114];
const LEAST_SIDE = 4;

/**
 * The standard deviation, over the picture at half its size, of how similar the Prewitt gradients of the luminances are:
 * 0 for equal pictures, symmetric. It is blind to an even shift of brightness and to colour at equal luminance, which PSNR
 * and SSIM see.
 * Xue, Zhang, Mou, Bovik: Gradient Magnitude Similarity Deviation, IEEE Transactions on Image Processing 23(2), 2014,
 * equations 2 to 6; T = 170, zeros beyond the border and the deviation of a sample as in the authors' code.
 * @throws EdgeDitError `invalid-argument` for pictures of different sizes, or of a side below 4 pixels
 */
export function gmsd(a: PictureValues, b: PictureValues): number {
  const { width, height } = a;
  const pair = valuesPair(a, b);
  if (width < LEAST_SIDE || height < LEAST_SIDE) {
    throw new EdgeDitError(
      'invalid-argument',
      `GMSD compares edges at half size; a picture of ${width} x ${height} has too few of them.`,
    );
  }
  const [one, other] = pair.map((values) => gradients(halved(luminance(values, channelsOf(a)), width, height)));
  const similarities = one.map((x, i) => (2 * x * other[i] + STABILITY) / (x * x + other[i] * other[i] + STABILITY));
  const mean = similarities.reduce((sum, value) => sum + value, 0) / similarities.length;
  const squares = similarities.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return Math.sqrt(squares / (similarities.length - 1));
}

interface Plane {
  readonly width: number;
  readonly height: number;
  readonly values: Float64Array;
}

/** 0 to 255; one channel is its own luminance. */
function luminance(values: Float32Array, channels: number): Float64Array {
  const weights = channels === LUMINANCE.length ? LUMINANCE : new Array<number>(channels).fill(1 / channels);
  const area = values.length / channels;
  return Float64Array.from({ length: area }, (_, i) => {
    const grey = weights.reduce((sum, weight, c) => sum + weight * values[c * area + i], 0);
    return 127.5 * (grey + 1);
  });
}

/** Means of 2 x 2 pixels; of an odd side the last pixels are averaged with zeros. */
function halved(values: Float64Array, width: number, height: number): Plane {
  const [columns, rows] = [Math.ceil(width / 2), Math.ceil(height / 2)];
  const at = pixelsOf({ width, height, values });
  const out = new Float64Array(columns * rows);
  for (let i = 0; i < out.length; i++) {
    const [x, y] = [2 * (i % columns), 2 * Math.floor(i / columns)];
    out[i] = (at(x, y) + at(x + 1, y) + at(x, y + 1) + at(x + 1, y + 1)) / 4;
  }
  return { width: columns, height: rows, values: out };
}

/** Magnitudes of Prewitt's gradients. */
function gradients(plane: Plane): Float64Array {
  const at = pixelsOf(plane);
  return plane.values.map((_, i) => {
    const [x, y] = [i % plane.width, Math.floor(i / plane.width)];
    let [across, down] = [0, 0];
    for (const d of [-1, 0, 1]) {
      across += at(x + 1, y + d) - at(x - 1, y + d);
      down += at(x + d, y + 1) - at(x + d, y - 1);
    }
    return Math.hypot(across, down) / 3;
  });
}

/** Zero beyond the border. */
function pixelsOf({ width, height, values }: Plane): (x: number, y: number) => number {
  return (x, y) => (x < 0 || y < 0 || x >= width || y >= height ? 0 : values[y * width + x]);
}
