/** Structural similarity: how alike two pictures are in local mean, contrast and structure. */
import { EdgeDitError } from '@edge-dit/runtime/errors';
import { channelsOf, type PictureValues, valuesPair } from './picture-values.ts';

const TAPS = 11;
const SIGMA = 1.5;
/** From -1 to 1. */
const DYNAMIC_RANGE = 2;
const C1 = (0.01 * DYNAMIC_RANGE) ** 2;
const C2 = (0.03 * DYNAMIC_RANGE) ** 2;
const WINDOW = gaussianWindow();

/**
 * Mean SSIM over all windows that lie within the picture, then over its channels: 1 for equal pictures, less otherwise.
 * Wang, Bovik, Sheikh, Simoncelli: Image Quality Assessment: From Error Visibility to Structural Similarity, 2004, with
 * its constants: a Gaussian window of 11 x 11 with sigma 1.5, K1 = 0.01, K2 = 0.03. Values are cut off at -1 and 1.
 * @throws EdgeDitError `invalid-argument` for pictures of different sizes, or smaller than the window
 */
export function ssim(a: PictureValues, b: PictureValues): number {
  const { width, height } = a;
  const [x, y] = valuesPair(a, b);
  if (width < TAPS || height < TAPS) {
    throw new EdgeDitError(
      'invalid-argument',
      `SSIM looks through windows of ${TAPS} x ${TAPS} pixels; a picture of ${width} x ${height} has none.`,
    );
  }
  const channels = channelsOf(a);
  const area = width * height;
  let sum = 0;
  for (let c = 0; c < channels; c++) {
    const of = (values: Float32Array) => Float64Array.from(values.subarray(c * area, (c + 1) * area));
    sum += channelSsim(of(x), of(y), width, height);
  }
  return sum / channels;
}

function channelSsim(x: Float64Array, y: Float64Array, width: number, height: number): number {
  const smooth = (values: Float64Array) => filter(values, width, height);
  const [meanX, meanY] = [smooth(x), smooth(y)];
  const squareX = smooth(x.map((value) => value * value));
  const squareY = smooth(y.map((value) => value * value));
  const product = smooth(x.map((value, i) => value * y[i]));
  let sum = 0;
  for (let i = 0; i < meanX.length; i++) {
    const [mx, my] = [meanX[i], meanY[i]];
    const covariance = product[i] - mx * my;
    const variances = squareX[i] - mx * mx + (squareY[i] - my * my);
    // Equation 13.
    sum += ((2 * mx * my + C1) * (2 * covariance + C2)) / ((mx * mx + my * my + C1) * (variances + C2));
  }
  return sum / meanX.length;
}

/** [height - 10, width - 10] weighted means of windows; rows first, since a Gaussian is a product. */
function filter(values: Float64Array, width: number, height: number): Float64Array {
  const columns = width - TAPS + 1;
  const rows = height - TAPS + 1;
  const across = new Float64Array(height * columns);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < columns; x++) {
      let sum = 0;
      for (let tap = 0; tap < TAPS; tap++) sum += WINDOW[tap] * values[y * width + x + tap];
      across[y * columns + x] = sum;
    }
  }
  const out = new Float64Array(rows * columns);
  for (let i = 0; i < out.length; i++) {
    let sum = 0;
    for (let tap = 0; tap < TAPS; tap++) sum += WINDOW[tap] * across[i + tap * columns];
    out[i] = sum;
  }
  return out;
}

/** One side of the window; its sum is 1. */
function gaussianWindow(): Float64Array {
  const window = Float64Array.from({ length: TAPS }, (_, i) => Math.exp(-((i - (TAPS >> 1)) ** 2) / (2 * SIGMA ** 2)));
  const sum = window.reduce((a, b) => a + b, 0);
  return window.map((value) => value / sum);
}
