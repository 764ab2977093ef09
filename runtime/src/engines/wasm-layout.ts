/** Sizes that the kernels and the wasm engine agree on. */

/** Rows of a tile, at most: that many more rows of codes must be readable. */
export const TILE_ROWS = 8;
/** Of a panel of 8 columns: scales, zeros, sums of codes, biases. */
export const COLUMN_RECORD_BYTES = 128;
/** Of a quantized row: scale, sum, zero. */
export const ROW_RECORD_BYTES = 16;
/** Rows that the quantized linear takes at once: bounds its scratch, and its activations stay in the second-level cache. */
export const LINEAR_ROWS = 192;

export const roundUp8 = (value: number) => (value + 7) & ~7;
