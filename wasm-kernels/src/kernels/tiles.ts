/**
 * Tiles of the matrix kernels, all 8 columns wide: the best of `npm run tune`, whose figures are in docs/bench/tiles.md.
 * Where a product and a sum are two instructions, their temporary costs two rows of accumulators.
 */
import type { Variant } from './index.ts';
import type { LinearTile } from './linear-codes.ts';

export const LINEAR_TILES: Readonly<Record<Variant, LinearTile>> = {
  simd: { mr: 4, unroll: 2 },
  relaxed: { mr: 6, unroll: 4 },
};

/** Rows of a tile of the float product. */
export const FLOAT_ROWS = 4;
