/** Which tile a product takes: large ones move less, small ones keep a whole GPU busy with a small product. */
import { type TileShape, tileBytes } from './gemm-tile.ts';

const CODE_TILES: readonly TileShape[] = [
  { rows: 128, columns: 128, threadRows: 8, threadColumns: 8, depth: 8 },
  { rows: 64, columns: 64, threadRows: 4, threadColumns: 4, depth: 16 },
  { rows: 32, columns: 32, threadRows: 4, threadColumns: 4, depth: 8 },
];

const FLOAT_TILES: readonly TileShape[] = [
  { rows: 64, columns: 64, threadRows: 8, threadColumns: 4, depth: 16 },
  { rows: 16, columns: 32, threadRows: 4, threadColumns: 4, depth: 8 },
];

/** Workgroups with which a GPU is busy. */
const BUSY = 128;

const fits = (shape: TileShape, limits: GPUSupportedLimits) =>
  tileBytes(shape) <= limits.maxComputeWorkgroupStorageSize &&
  (shape.rows / shape.threadRows) * (shape.columns / shape.threadColumns) <= limits.maxComputeInvocationsPerWorkgroup;

/** The largest tile of which there are enough, else the smallest. */
function choose(tiles: readonly TileShape[], rows: number, columns: number, limits: GPUSupportedLimits): TileShape {
  const usable = tiles.filter((shape) => fits(shape, limits));
  const count = (shape: TileShape) => Math.ceil(rows / shape.rows) * Math.ceil(columns / shape.columns);
  return usable.find((shape) => count(shape) >= BUSY) ?? usable[usable.length - 1];
}

/** @param columns of all layers of the dispatch together */
export const codesTile = (rows: number, columns: number, limits: GPUSupportedLimits) =>
  choose(CODE_TILES, rows, columns, limits);

export const floatTile = (rows: number, columns: number, limits: GPUSupportedLimits) =>
  choose(FLOAT_TILES, rows, columns, limits);
