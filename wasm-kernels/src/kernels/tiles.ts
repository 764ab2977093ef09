/**
 * Rows of the tiles of the matrix kernels, all 8 columns wide: the best of `npm run tune`, whose figures are in
 * docs/bench/tiles.md. Where a product and a sum are two instructions, their temporary costs two rows of accumulators.
 */
import type { ModuleName } from './index.ts';

export const TILE_ROWS: Readonly<Record<ModuleName, number>> = { float: 4, simd: 4, relaxed: 6 };
