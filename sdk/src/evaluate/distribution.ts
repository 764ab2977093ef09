/** Many figures in, the few that people compare out. */

export interface Distribution {
  readonly mean: number;
  /** The least for similarities, the largest for distances. */
  readonly worst: number;
  /** Below which 5, 25, 50, 75 and 95 of a hundred figures are. */
  readonly quantiles: {
    readonly p5: number;
    readonly p25: number;
    readonly p50: number;
    readonly p75: number;
    readonly p95: number;
  };
}

/** @param better whether larger figures or smaller ones are */
export function distributionOf(figures: readonly number[], better: 'larger' | 'smaller'): Distribution {
  const sorted = [...figures].sort((a, b) => a - b);
  const at = (share: number) => quantile(sorted, share);
  return {
    mean: figures.reduce((sum, figure) => sum + figure, 0) / figures.length,
    worst: better === 'larger' ? sorted[0] : sorted[sorted.length - 1],
    quantiles: { p5: at(0.05), p25: at(0.25), p50: at(0.5), p75: at(0.75), p95: at(0.95) },
  };
}

/** Between its neighbours by the line that joins them, as numpy does (type 7 of Hyndman and Fan, 1996). */
export function quantile(sorted: readonly number[], share: number): number {
  const position = share * (sorted.length - 1);
  const below = Math.floor(position);
  const [low, high] = [sorted[below], sorted[Math.min(below + 1, sorted.length - 1)]];
  // Infinity (the PSNR of equal pictures) less infinity is no number.
  return low === high || position === below ? low : low + (high - low) * (position - below);
}
