/** IEEE 754 binary16 to and from float32, bit by bit: `Float16Array` is not everywhere yet. */

const FLOAT = new Float32Array(1);
const BITS = new Uint32Array(FLOAT.buffer);

export function halfToFloat(half: number): number {
  const sign = half & 0x8000 ? -1 : 1;
  const exponent = (half >> 10) & 31;
  const fraction = half & 1023;
  if (exponent === 31) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  BITS[0] = ((half & 0x8000) << 16) | ((exponent + 112) << 23) | (fraction << 13);
  return FLOAT[0];
}

/** Nearest, ties to even; beyond 65504 infinity. */
export function floatToHalf(value: number): number {
  FLOAT[0] = value;
  const bits = BITS[0];
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00;
  if (magnitude >= 0x477ff000) return sign | 0x7c00;
  if (magnitude < 0x38800000) {
    // Below the smallest normal half: count units of 2^-24, which fround's own rounding cannot disturb.
    const units = Math.abs(FLOAT[0]) * 2 ** 24;
    const floor = Math.floor(units);
    const rest = units - floor;
    return sign | (rest > 0.5 || (rest === 0.5 && floor & 1) ? floor + 1 : floor);
  }
  const rounded = magnitude + 0xfff + ((magnitude >> 13) & 1);
  return sign | ((rounded - 0x38000000) >> 13);
}
