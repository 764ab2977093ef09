/** A float weight to codes: static, asymmetric, one step and one zero point per output channel, rounded to nearest. */
import { floatToHalf, halfToFloat } from '@edge-dit/runtime/format/half';

export interface QuantizedWeight {
  /** Row-major [out, in], 0 to 2^bits - 1. */
  readonly codes: Uint8Array;
  /** [out], float16 numbers: one step of a code. */
  readonly scale: Float32Array;
  /** [out]: the code of 0. */
  readonly zero: Uint8Array;
}

export function quantizeWeight(
  weight: Float32Array,
  outFeatures: number,
  inFeatures: number,
  bits: 4 | 8,
): QuantizedWeight {
  const top = 2 ** bits - 1;
  const codes = new Uint8Array(outFeatures * inFeatures);
  const scale = new Float32Array(outFeatures);
  const zero = new Uint8Array(outFeatures);
  for (let n = 0; n < outFeatures; n++) {
    const row = weight.subarray(n * inFeatures, (n + 1) * inFeatures);
    let low = 0;
    let high = 0;
    for (const value of row) {
      low = Math.min(low, value);
      high = Math.max(high, value);
    }
    const step = halfAtLeast((high - low) / top);
    if (step === 0) continue;
    scale[n] = step;
    zero[n] = Math.min(top, Math.round(-low / step));
    for (let k = 0; k < inFeatures; k++) {
      codes[n * inFeatures + k] = Math.min(top, Math.max(0, Math.round(row[k] / step) + zero[n]));
    }
  }
  return { codes, scale, zero };
}

/** The smallest float16 that is not below `value`: the range of a row then always fits its codes. */
export function halfAtLeast(value: number): number {
  const half = floatToHalf(value);
  const rounded = halfToFloat(half);
  return rounded < value ? halfToFloat(half + 1) : rounded;
}
