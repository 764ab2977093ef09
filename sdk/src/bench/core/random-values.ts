/** Numbers for inputs and weights: the same in every run and on every host. */

/** Integers 0 to 2^32 - 1 (xorshift32, Marsaglia 2003). */
export function randomBits(seed: number): () => number {
  let state = seed | 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
}

/** Values of about unit variance and zero mean, bell-shaped: the sum of four uniform ones. */
export function randomFloats(count: number, seed: number, deviation = 1): Float32Array {
  const next = randomBits(seed);
  const factor = (deviation * Math.sqrt(3)) / 2 ** 32;
  return Float32Array.from({ length: count }, () => (next() + next() + next() + next() - 2 * 2 ** 32) * factor);
}

export function randomBytes(count: number, seed: number, below = 256): Uint8Array {
  const next = randomBits(seed);
  return Uint8Array.from({ length: count }, () => (next() >>> 8) % below);
}
