/**
 * Hadamard matrices of the sizes that layers have: H = H_order (x) H_block, H_block Sylvester's (a power of two),
 * H_order one of Paley's (Paley, "On orthogonal matrices", 1933). In: a number of channels. Out: the order, the signs of
 * H_order, and the rotation in plain loops, whose bits the kernel gives.
 */

/** Each channel costs as many additions as the order has; no usual width needs more. */
const MAX_ORDER = 256;
/** Channels of a block are multiplied in vectors of 4. */
const LEAST_BLOCK = 4;

function isPrime(n: number): boolean {
  for (let d = 2; d * d <= n; d++) if (n % d === 0) return false;
  return n > 1;
}

/** The prime q of Paley's matrix of this order: I has q + 1 rows, q = 3 modulo 4; II has 2 (q + 1), q = 1 modulo 4. */
const paleyPrime = (order: number): number | undefined =>
  [order - 1, order / 2 - 1].find((q, i) => q % 4 === 3 - 2 * i && isPrime(q));

/**
 * The least order, 1 or that of a matrix of Paley's up to 256, for which `channels` / order is a power of two of at least
 * 4; undefined where there is none.
 */
export function hadamardOrder(channels: number): number | undefined {
  for (let order = 1; order <= MAX_ORDER; order++) {
    const block = channels / order;
    const divides = channels % order === 0 && block >= LEAST_BLOCK && (block & (block - 1)) === 0;
    if (divides && (order === 1 || paleyPrime(order) !== undefined)) return order;
  }
  return undefined;
}

/** Row-major [order, order]: 1 where H_order is -1, else 0, for an order that `hadamardOrder` gives. */
export function hadamardFlips(order: number): Uint8Array {
  const q = paleyPrime(order) ?? 1;
  /** 1 for Paley I, whose core is skew; 2 for Paley II, where blocks of 2 x 2 take the place of the entries of a symmetric core. */
  const wide = order / (q + 1);
  const squares = new Set(Array.from({ length: q }, (_, i) => (i * i) % q));
  return Uint8Array.from({ length: order * order }, (_, at) => {
    const [i, j] = [Math.floor(at / order), at % order];
    const [a, b, corner] = [Math.floor(i / wide), Math.floor(j / wide), (i % wide) + (j % wide)];
    if (a === b) return Number(corner > 0);
    const negative = a * b === 0 ? b === 0 && wide === 1 : !squares.has((b - a + q) % q);
    return Number(negative !== (corner === 2));
  });
}

/** The float32 by which a rotation ends. */
export const hadamardScale = (channels: number) => Math.fround(1 / Math.sqrt(channels));

/**
 * Rotates rows of `data` [rows, channels] in place: x diag(s) H / sqrt(channels), in float32; s is -1 where `signs` is 1.
 * `channels` has an order.
 */
export function rotateReference(data: Float32Array, channels: number, signs: Uint8Array): void {
  const order = hadamardOrder(channels)!;
  const block = channels / order;
  const flips = hadamardFlips(order);
  const scale = hadamardScale(channels);
  const sums = new Float32Array(channels);
  for (let start = 0; start < data.length; start += channels) {
    const row = data.subarray(start, start + channels);
    for (let c = 0; c < channels; c++) if (signs[c]) row[c] = -row[c];
    for (let half = 1; half < block; half *= 2) {
      for (let c = 0; c < channels; c++) {
        if (c & half) continue;
        const [a, b] = [row[c], row[c + half]];
        row[c] = a + b;
        row[c + half] = a - b;
      }
    }
    if (order > 1) {
      sums.fill(0);
      for (let i = 0; i < order; i++) {
        for (let j = 0; j < order; j++) {
          const flip = flips[i * order + j];
          for (let c = 0; c < block; c++) sums[j * block + c] += flip ? -row[i * block + c] : row[i * block + c];
        }
      }
      row.set(sums);
    }
    for (let c = 0; c < channels; c++) row[c] *= scale;
  }
}
