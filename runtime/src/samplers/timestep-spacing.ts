/**
 * Which training timesteps a sampler visits (Lin et al. 2024, table 2). In: how many there are and how many steps.
 * Out: `steps` timesteps, noisiest first. Roundings are numpy's (half to even).
 */

/** numpy's and PyTorch's rounding: halves go to the even neighbour. */
export function roundHalfEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  return rest > 0.5 || (rest === 0.5 && floor % 2 !== 0) ? floor + 1 : floor;
}

/** `count` values from `start` to `end`, both included; one value is `start`. */
export function evenlySpaced(start: number, end: number, count: number): number[] {
  const step = count > 1 ? (end - start) / (count - 1) : 0;
  return Array.from({ length: count }, (_, i) => (i > 0 && i === count - 1 ? end : start + i * step));
}

/** From the last training timestep to 0; not rounded. */
export function linspaceTimesteps(trained: number, steps: number): number[] {
  return evenlySpaced(0, trained - 1, steps).reverse();
}

/** As `linspaceTimesteps` for one more step, the last of them (timestep 0) left out: there the sample is done. */
export function linspaceWithoutZero(trained: number, steps: number): number[] {
  return evenlySpaced(0, trained - 1, steps + 1)
    .reverse()
    .slice(0, -1);
}

/** Whole multiples of `ratio`, the largest first, from `first` times it. */
export function leadingTimesteps(ratio: number, steps: number, offset: number, first: 0 | 1 = 0): number[] {
  return Array.from({ length: steps }, (_, i) => (steps - 1 - i + first) * ratio + offset);
}

/** Counted down from the last of the `last` timesteps in steps of `trained / steps`. */
export function trailingTimesteps(trained: number, steps: number, last = trained): number[] {
  // The difference as floating point leaves it, as numpy's arange steps.
  const step = last - trained / steps - last;
  return Array.from({ length: steps }, (_, i) => roundHalfEven(last + i * step) - 1);
}
