/** Which tile a product takes: large ones move less, small ones keep a whole GPU busy with a small product. */
import { type TileShape, tileBytes, tileThreads } from './gemm-tile.ts';

interface Choice {
  readonly shape: TileShape;
  /** Taken for products of so many workgroups or more. */
  readonly workgroups: number;
}

/**
 * By `npm run tune:webgpu`: four rows by four columns a thread are faster than more, and workgroups of 128 threads faster
 * than larger ones. The last is for products so small that no GPU is busy with them.
 */
const CODE_TILES: readonly Choice[] = [
  { shape: { rows: 32, columns: 64, threadRows: 4, threadColumns: 4, depth: 16 }, workgroups: 256 },
  { shape: { rows: 32, columns: 32, threadRows: 4, threadColumns: 4, depth: 16 }, workgroups: 0 },
];

const FLOAT_TILES: readonly Choice[] = [
  { shape: { rows: 64, columns: 64, threadRows: 4, threadColumns: 4, depth: 16 }, workgroups: 512 },
  { shape: { rows: 32, columns: 32, threadRows: 4, threadColumns: 4, depth: 16 }, workgroups: 32 },
  { shape: { rows: 16, columns: 32, threadRows: 4, threadColumns: 4, depth: 8 }, workgroups: 0 },
];

function choose(tiles: readonly Choice[], rows: number, columns: number, limits: GPUSupportedLimits): TileShape {
  const fits = ({ shape, workgroups }: Choice) =>
    tileBytes(shape) <= limits.maxComputeWorkgroupStorageSize &&
    tileThreads(shape) <= limits.maxComputeInvocationsPerWorkgroup &&
    Math.ceil(rows / shape.rows) * Math.ceil(columns / shape.columns) >= workgroups;
  return (tiles.find(fits) ?? tiles[tiles.length - 1]).shape;
}

/** @param columns of all layers of the dispatch together */
export const codesTile = (rows: number, columns: number, limits: GPUSupportedLimits) =>
  choose(CODE_TILES, rows, columns, limits);

export const floatTile = (rows: number, columns: number, limits: GPUSupportedLimits) =>
  choose(FLOAT_TILES, rows, columns, limits);
