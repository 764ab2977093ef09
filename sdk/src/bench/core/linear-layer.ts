/**
 * A linear layer whose weight is the same number in every form that is compared: float32, 4-bit codes, 8-bit codes, and
 * what onnxruntime wants. Its values lie on the 4-bit grid, of which the 8-bit one is a refinement, so outputs may differ
 * by the rounding of activations alone.
 */
import type { LinearSource } from '@edge-dit/runtime/engines/engine';
import { panelsFromCodes } from '@edge-dit/runtime/format/encodings';
import { randomBytes, randomFloats } from './random-values.ts';

export interface LinearLayer {
  readonly outFeatures: number;
  readonly inFeatures: number;
  /** Row-major [out, in], 0 to 15. */
  readonly codes: Uint8Array;
  /** [out]: the value of one step of a code, and the code of 0. */
  readonly scale: Float32Array;
  readonly zero: Uint8Array;
  readonly bias: Float32Array;
}

export const WEIGHT_FORMS = ['w4', 'w8', 'f32'] as const;
export type WeightForm = (typeof WEIGHT_FORMS)[number];

/** 8-bit codes are 16 times the 4-bit ones. */
const FINER = 16;

export function randomLayer(outFeatures: number, inFeatures: number, seed: number): LinearLayer {
  // Powers of two keep code times scale exact in every form, float16 scales included.
  const scale = Float32Array.from(randomBytes(outFeatures, seed + 1, 2), (bit) => 1 / (bit === 0 ? 128 : 256));
  return {
    outFeatures,
    inFeatures,
    codes: randomBytes(outFeatures * inFeatures, seed, 16),
    scale,
    zero: Uint8Array.from(randomBytes(outFeatures, seed + 2, 2), (bit) => 7 + bit),
    bias: randomFloats(outFeatures, seed + 3, 0.1),
  };
}

/** Row-major [out, in]. */
export function floatWeight({ outFeatures, inFeatures, codes, scale, zero }: LinearLayer): Float32Array {
  const weight = new Float32Array(codes.length);
  for (let n = 0; n < outFeatures; n++) {
    for (let k = 0; k < inFeatures; k++) weight[n * inFeatures + k] = scale[n] * (codes[n * inFeatures + k] - zero[n]);
  }
  return weight;
}

/** The layer as our engines take it. */
export function linearSource(layer: LinearLayer, form: WeightForm): LinearSource {
  const { outFeatures, inFeatures, codes, scale, zero, bias } = layer;
  if (form === 'f32') return { kind: 'float', outFeatures, inFeatures, bias, weight: floatWeight(layer) };
  const [bits, fine] = form === 'w8' ? ([8, FINER] as const) : ([4, 1] as const);
  return {
    kind: 'codes',
    bits,
    outFeatures,
    inFeatures,
    bias,
    panels: panelsFromCodes(fine === 1 ? codes : codes.map((code) => code * fine), outFeatures, inFeatures, bits),
    scale: scale.map((step) => step / fine),
    zero: zero.map((code) => code * fine),
  };
}

/** Rows `rows` of x W^T + bias by plain loops in float64. */
export function plainRows(layer: LinearLayer, x: Float32Array, rows: readonly number[]): Float32Array {
  const { outFeatures, inFeatures, bias } = layer;
  const weight = floatWeight(layer);
  return Float32Array.from({ length: rows.length * outFeatures }, (_, at) => {
    const n = at % outFeatures;
    const row = rows[(at - n) / outFeatures];
    let sum = bias[n];
    for (let k = 0; k < inFeatures; k++) sum += x[row * inFeatures + k] * weight[n * inFeatures + k];
    return sum;
  });
}
