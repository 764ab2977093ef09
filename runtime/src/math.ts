/**
 * Elementary functions in float64 whose result is the same bits on every JavaScript engine. `Math.exp` and its like
 * may differ in the last bit from engine to engine, and a picture made on one machine has to repeat on another; these
 * use only `+ - * /`, `Math.floor`, `Math.abs`, constants and bit access, which IEEE 754 fixes.
 * Each is within 2 units in the last place of the true value (most within 1); the tests hold them to that.
 */
import { EdgeDitError } from './errors.ts';

const DOUBLE = new Float64Array(1);
const WORDS = new Uint32Array(DOUBLE.buffer);
/** Where the upper half of a double lies: typed arrays follow the machine's byte order. */
const HIGH = new Uint8Array(new Uint16Array([1]).buffer)[0];
const LOW = 1 - HIGH;

/** ln 2 in two parts; the first has 32 bits, so that it times an exponent is exact. */
const LN2_HIGH = 0.6931471803691238;
const LN2_LOW = 1.9082149292705877e-10;
/** pi/2 in four parts, 33 bits each, so that a part times a number below 2^20 is exact. */
const HALF_PI_1 = 1.5707963267341256;
const HALF_PI_2 = 6.077100506303966e-11;
const HALF_PI_3 = 2.0222662487111665e-21;
const HALF_PI_4 = 8.4784276603689e-32;
const MAX_ANGLE = 2 ** 20;
/** Below it sine and hyperbolic tangent are their argument; so minus zero keeps its sign. */
const TINY = 2 ** -27;

/** 2^k for -1022 <= k <= 1023. */
function powerOfTwo(k: number): number {
  WORDS[HIGH] = (k + 1023) << 20;
  WORDS[LOW] = 0;
  return DOUBLE[0];
}

/** y * 2^k; two factors, because 2^k alone may be out of range where the product is not. */
function scale(y: number, k: number): number {
  if (k >= -1021 && k <= 1023) return y * powerOfTwo(k);
  return k > 0 ? y * 2 * powerOfTwo(k - 1) : y * powerOfTwo(k + 200) * 2 ** -200;
}

/** 1/2! + r/3! + r^2/4! + ...; for |r| <= ln(2)/2 what is left out is below 1e-17 of r. */
function expTail(r: number): number {
  let sum = 1 / 87178291200;
  sum = sum * r + 1 / 6227020800;
  sum = sum * r + 1 / 479001600;
  sum = sum * r + 1 / 39916800;
  sum = sum * r + 1 / 3628800;
  sum = sum * r + 1 / 362880;
  sum = sum * r + 1 / 40320;
  sum = sum * r + 1 / 5040;
  sum = sum * r + 1 / 720;
  sum = sum * r + 1 / 120;
  sum = sum * r + 1 / 24;
  sum = sum * r + 1 / 6;
  return sum * r + 1 / 2;
}

/** e^(x + low), |low| far below |x|. */
function expOfSum(x: number, low: number): number {
  if (Number.isNaN(x)) return x;
  if (x > 709.8) return Number.POSITIVE_INFINITY;
  if (x < -745.2) return 0;
  const k = Math.floor(x * Math.LOG2E + 0.5);
  const high = x - k * LN2_HIGH;
  const rest = k * LN2_LOW;
  const r = high - rest;
  const lost = high - r - rest + low;
  return scale(1 + (r + (r * r * expTail(r) + lost * (1 + r))), k);
}

export function exp(x: number): number {
  return expOfSum(x, 0);
}

/** e^x - 1, exact to the last bits for small x too. */
export function expm1(x: number): number {
  if (x > 37 || x < -37 || Number.isNaN(x)) return exp(x) - 1;
  const k = Math.floor(x * Math.LOG2E + 0.5);
  const high = x - k * LN2_HIGH;
  const rest = k * LN2_LOW;
  const r = high - rest;
  const lost = high - r - rest;
  const small = r * r * expTail(r) + lost * (1 + r);
  if (k === 0) return r === 0 ? x : r + small;
  // 2^k (1 + r + small) - 1, the large terms first.
  const power = powerOfTwo(k);
  if (k < 0) return power - 1 + power * (r + small);
  return k < 50 ? power - 1 + power * (r + small) : power * (1 + (r + (small - 1 / power)));
}

/** x = m 2^k with sqrt(1/2) <= m < sqrt(2); gives k and leaves m in `DOUBLE`. For finite x > 0. */
function splitExponent(x: number): number {
  let k = 0;
  DOUBLE[0] = x;
  if (WORDS[HIGH] < 0x00100000) {
    DOUBLE[0] = x * 2 ** 54;
    k = -54;
  }
  k += (WORDS[HIGH] >>> 20) - 1023;
  WORDS[HIGH] = (WORDS[HIGH] & 0xfffff) | 0x3ff00000;
  if (DOUBLE[0] >= Math.SQRT2) {
    WORDS[HIGH] -= 0x00100000;
    k += 1;
  }
  return k;
}

/** ln((1+s)/(1-s)) = 2s + s * logTail(s^2); for |s| <= 0.172 what is left out is below 1e-18 of s. */
function logTail(z: number): number {
  let sum = 2 / 25;
  sum = sum * z + 2 / 23;
  sum = sum * z + 2 / 21;
  sum = sum * z + 2 / 19;
  sum = sum * z + 2 / 17;
  sum = sum * z + 2 / 15;
  sum = sum * z + 2 / 13;
  sum = sum * z + 2 / 11;
  sum = sum * z + 2 / 9;
  sum = sum * z + 2 / 7;
  sum = sum * z + 2 / 5;
  sum = sum * z + 2 / 3;
  return sum * z;
}

/** Natural logarithm; `log(0)` is -Infinity, of a negative number NaN. */
export function log(x: number): number {
  if (!(x > 0) || x === Number.POSITIVE_INFINITY) return x === 0 ? Number.NEGATIVE_INFINITY : x > 0 ? x : Number.NaN;
  const k = splitExponent(x);
  const f = DOUBLE[0] - 1;
  const s = f / (2 + f);
  // ln(1+f) = f - f^2/2 + s (f^2/2 + tail): the exact f carries most of the value, so that its error stays small.
  const half = 0.5 * f * f;
  return k * LN2_HIGH - (half - (s * (half + logTail(s * s)) + k * LN2_LOW) - f);
}

/** The exact product a * b as the rounded product and what the rounding left out (Dekker 1971). */
function productError(a: number, b: number, product: number): number {
  const aBig = a * 134217729;
  const aHigh = aBig - (aBig - a);
  const aLow = a - aHigh;
  const bBig = b * 134217729;
  const bHigh = bBig - (bBig - b);
  const bLow = b - bHigh;
  return aLow * bLow - (product - aHigh * bHigh - aLow * bHigh - aHigh * bLow);
}

/** x^y for x >= 0, NaN for a negative x. Within 2 units in the last place for results from 1e-12 to 1e12. */
export function pow(x: number, y: number): number {
  if (y === 0 || x === 1) return 1;
  if (!(x >= 0) || Number.isNaN(y)) return Number.NaN;
  if (x === 0 || x === Number.POSITIVE_INFINITY) return (x === 0) === y > 0 ? 0 : Number.POSITIVE_INFINITY;
  if (!Number.isFinite(y)) return x > 1 === y > 0 ? Number.POSITIVE_INFINITY : 0;
  // The logarithm in two doubles: its error is multiplied by y.
  const k = splitExponent(x);
  const f = DOUBLE[0] - 1;
  const sum = 2 + f;
  const s = f / sum;
  const product = s * sum;
  const sLow = (f - product - productError(s, sum, product) - s * (f - (sum - 2))) / sum;
  const tail = (2 * sLow) / (1 - s * s) + s * logTail(s * s) + k * LN2_LOW;
  const main = k * LN2_HIGH;
  const twice = 2 * s;
  const a = main + twice;
  const aLow = main === 0 ? 0 : twice - (a - main);
  const high = a + (aLow + tail);
  const low = a - high + (aLow + tail);
  const power = high * y;
  if (!(power > -800 && power < 800)) return power > 0 ? Number.POSITIVE_INFINITY : 0;
  return expOfSum(power, productError(high, y, power) + low * y);
}

/** The angle less a multiple of pi/2, as two doubles; the multiple modulo 4. */
const reduced = { high: 0, low: 0, quadrant: 0 };

function reduceAngle(x: number): void {
  const k = Math.floor(x / HALF_PI_1 + 0.5);
  const a = x - k * HALF_PI_1;
  const w2 = k * HALF_PI_2;
  const b = a - w2;
  const bLow = a - b - w2;
  const w3 = k * HALF_PI_3;
  const c = b - w3;
  const cLow = b - c - w3 + (bLow - k * HALF_PI_4);
  reduced.high = c + cLow;
  reduced.low = c - reduced.high + cLow;
  reduced.quadrant = ((k % 4) + 4) % 4;
}

function checkAngle(name: string, x: number): void {
  if (Math.abs(x) > MAX_ANGLE) {
    throw new EdgeDitError(
      'invalid-argument',
      `${name}(${x}): angles beyond ${MAX_ANGLE} radians are not reduced exactly`,
    );
  }
}

/** sin(x + low) for |x| <= pi/4. */
function sinKernel(x: number, low: number): number {
  const z = x * x;
  let sum = -1 / 121645100408832000;
  sum = sum * z + 1 / 355687428096000;
  sum = sum * z - 1 / 1307674368000;
  sum = sum * z + 1 / 6227020800;
  sum = sum * z - 1 / 39916800;
  sum = sum * z + 1 / 362880;
  sum = sum * z - 1 / 5040;
  sum = sum * z + 1 / 120;
  sum = sum * z - 1 / 6;
  return x + (x * z * sum + low * (1 - 0.5 * z));
}

/** cos(x + low) for |x| <= pi/4. */
function cosKernel(x: number, low: number): number {
  const z = x * x;
  let sum = -1 / 6402373705728000;
  sum = sum * z + 1 / 20922789888000;
  sum = sum * z - 1 / 87178291200;
  sum = sum * z + 1 / 479001600;
  sum = sum * z - 1 / 3628800;
  sum = sum * z + 1 / 40320;
  sum = sum * z - 1 / 720;
  sum = sum * z + 1 / 24;
  const half = 0.5 * z;
  const first = 1 - half;
  return first + (1 - first - half + (z * z * sum - x * low));
}

/** @param x radians, at most 2^20 in magnitude @throws `invalid-argument` beyond that */
export function sin(x: number): number {
  if (Math.abs(x) < TINY) return x;
  if (Math.abs(x) <= Math.PI / 4) return sinKernel(x, 0);
  checkAngle('sin', x);
  reduceAngle(x);
  const { high, low, quadrant } = reduced;
  const value = quadrant & 1 ? cosKernel(high, low) : sinKernel(high, low);
  return quadrant & 2 ? -value : value;
}

/** @param x radians, at most 2^20 in magnitude @throws `invalid-argument` beyond that */
export function cos(x: number): number {
  if (Math.abs(x) <= Math.PI / 4) return cosKernel(x, 0);
  checkAngle('cos', x);
  reduceAngle(x);
  const { high, low, quadrant } = reduced;
  const value = quadrant & 1 ? sinKernel(high, low) : cosKernel(high, low);
  return quadrant === 1 || quadrant === 2 ? -value : value;
}

/** Below this the series is the more exact, above it the exponential. */
const TANH_SERIES = 0.55;

export function tanh(x: number): number {
  const magnitude = Math.abs(x);
  if (magnitude < TINY) return x;
  if (magnitude > 22) return x > 0 ? 1 : -1;
  if (magnitude > TANH_SERIES) {
    const value = 1 - 2 / (exp(2 * magnitude) + 1);
    return x < 0 ? -value : value;
  }
  // x + x (S - C) / C with sinh(x) = x S and cosh(x) = C, power series in x^2.
  const z = x * x;
  let difference = -18 / 121645100408832000;
  difference = difference * z - 16 / 355687428096000;
  difference = difference * z - 14 / 1307674368000;
  difference = difference * z - 12 / 6227020800;
  difference = difference * z - 10 / 39916800;
  difference = difference * z - 8 / 362880;
  difference = difference * z - 6 / 5040;
  difference = difference * z - 4 / 120;
  difference = difference * z - 2 / 6;
  let c = 1 / 20922789888000;
  c = c * z + 1 / 87178291200;
  c = c * z + 1 / 479001600;
  c = c * z + 1 / 3628800;
  c = c * z + 1 / 40320;
  c = c * z + 1 / 720;
  c = c * z + 1 / 24;
  c = c * z + 1 / 2;
  c = c * z + 1;
  return x + x * ((difference * z) / c);
}
