/**
 * Unit Gaussian noise from a seed, the same bits on every machine. In: a 64-bit seed, a stream, a length.
 * Out: float32 values. Value i depends on (seed, stream, i) only, never on the length.
 *
 * Definition
 * - Generator: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011), multipliers
 *   0xD2511F53 and 0xCD9E8D57, key increments 0x9E3779B9 and 0xBB67AE85.
 * - Key: k0 = seed mod 2^32, k1 = floor(seed / 2^32).
 * - Counter of block b: c0 = b mod 2^32, c1 = floor(b / 2^32), c2 = stream mod 2^32, c3 = floor(stream / 2^32).
 * - Block b gives the words w0..w3 and from them the values 4b..4b+3:
 *   u1 = (w0 + 1) / 2^32, in (0, 1];  u2 = w1 / 2^32, in [0, 1);
 *   value 4b = sqrt(-2 ln u1) cos(2 pi u2);  value 4b+1 = sqrt(-2 ln u1) sin(2 pi u2);
 *   values 4b+2 and 4b+3 in the same way from w2 and w3.
 * - Everything in float64, in this order: -2 * log(u1), its square root, (2 pi) * u2, the product; log, sin and cos
 *   are those of math.ts; the product is rounded to float32 once. The largest magnitude is sqrt(64 ln 2) = 6.66.
 * - Streams: `noiseStream(item, draw)` = 4096 item + draw; draw 0 is the first sample, draw i + 1 the noise of step i.
 */
import { EdgeDitError } from './errors.ts';
import { cos, log, sin } from './math.ts';

const MULTIPLIER_0 = 0xd2511f53;
const MULTIPLIER_1 = 0xcd9e8d57;
const KEY_STEP_0 = 0x9e3779b9;
const KEY_STEP_1 = 0xbb67ae85;
const ROUNDS = 10;
const WORD = 2 ** 32;
/** More than the steps of any sampler, so that no two draws of two items share a stream. */
const DRAWS_PER_ITEM = 4096;

/** Upper 32 bits of the 64-bit product, by 16-bit halves; every intermediate is below 2^53 and so exact. */
function multiplyHigh(a: number, b: number): number {
  const aLow = a & 0xffff;
  const aHigh = a >>> 16;
  const bLow = b & 0xffff;
  const bHigh = b >>> 16;
  const middle = aHigh * bLow + aLow * bHigh + Math.floor((aLow * bLow) / 65536);
  return aHigh * bHigh + Math.floor(middle / 65536);
}

/**
 * One block of Philox4x32-10.
 * @param counter four 32-bit words; overwritten with the four random words
 */
export function philox4x32(counter: Uint32Array, key0: number, key1: number): void {
  let [c0, c1, c2, c3] = counter;
  let k0 = key0;
  let k1 = key1;
  for (let round = 0; round < ROUNDS; round++) {
    const high0 = multiplyHigh(MULTIPLIER_0, c0);
    const low0 = Math.imul(MULTIPLIER_0, c0);
    const high1 = multiplyHigh(MULTIPLIER_1, c2);
    const low1 = Math.imul(MULTIPLIER_1, c2);
    c0 = (high1 ^ c1 ^ k0) >>> 0;
    c1 = low1 >>> 0;
    c2 = (high0 ^ c3 ^ k1) >>> 0;
    c3 = low0 >>> 0;
    k0 = (k0 + KEY_STEP_0) >>> 0;
    k1 = (k1 + KEY_STEP_1) >>> 0;
  }
  counter[0] = c0;
  counter[1] = c1;
  counter[2] = c2;
  counter[3] = c3;
}

/**
 * The stream of one draw of one item of a batch.
 * @param draw 0 for the first sample, i + 1 for the noise that step i draws; below 4096
 * @throws `invalid-argument` when either is out of range
 */
export function noiseStream(item: number, draw: number): number {
  const stream = item * DRAWS_PER_ITEM + draw;
  const items = Number.isInteger(item) && item >= 0 && Number.isSafeInteger(stream);
  if (!items || !Number.isInteger(draw) || draw < 0 || draw >= DRAWS_PER_ITEM) {
    throw new EdgeDitError(
      'invalid-argument',
      `noise stream of item ${item}, draw ${draw}: item must be an integer from 0, draw one from 0 to ${DRAWS_PER_ITEM - 1}`,
    );
  }
  return stream;
}

/**
 * `length` values of unit Gaussian noise.
 * @param seed an integer from 0 to 2^64 - 1; beyond 2^53 - 1 as a bigint
 * @param stream an integer from 0 to 2^53 - 1, see `noiseStream`
 * @throws `invalid-argument` when an argument is out of range
 */
export function gaussianNoise(seed: number | bigint, stream: number, length: number): Float32Array {
  const [key0, key1] = seedWords(seed);
  if (!Number.isSafeInteger(stream) || stream < 0) {
    throw new EdgeDitError('invalid-argument', `noise stream ${stream}: expected an integer from 0 to 2^53 - 1`);
  }
  if (!Number.isSafeInteger(length) || length < 0) {
    throw new EdgeDitError('invalid-argument', `noise length ${length}: expected an integer from 0`);
  }
  const values = new Float32Array(length);
  const words = new Uint32Array(4);
  for (let start = 0, block = 0; start < length; start += 4, block++) {
    words[0] = block % WORD;
    words[1] = Math.floor(block / WORD);
    words[2] = stream % WORD;
    words[3] = Math.floor(stream / WORD);
    philox4x32(words, key0, key1);
    // Writes beyond the end of a typed array do nothing, so the last block needs no special case.
    for (let pair = 0; pair < 4; pair += 2) {
      const radius = Math.sqrt(-2 * log((words[pair] + 1) / WORD));
      const angle = 2 * Math.PI * (words[pair + 1] / WORD);
      values[start + pair] = radius * cos(angle);
      values[start + pair + 1] = radius * sin(angle);
    }
  }
  return values;
}

function seedWords(seed: number | bigint): [number, number] {
  if (typeof seed === 'number' ? !Number.isSafeInteger(seed) || seed < 0 : seed < 0n || seed >= 1n << 64n) {
    throw new EdgeDitError(
      'invalid-argument',
      `seed ${seed}: expected an integer from 0 to 2^64 - 1, beyond 2^53 - 1 as a bigint`,
    );
  }
  const wide = BigInt(seed);
  return [Number(wide & 0xffffffffn), Number(wide >> 32n)];
}
