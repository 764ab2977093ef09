/** Which tile a product takes: large ones move less, small ones keep a whole GPU busy with a small product. */
import { type TileShape, teamsOf, tileBytes, tileThreads } from './gemm-tile.ts';

/** What a tile must fit. */
export interface TileHost {
  readonly limits: GPUSupportedLimits;
  /** The adapter is software: it has no idle processors that a second team would use, and takes seconds to compile one. */
  readonly software: boolean;
}

interface Choice {
  readonly shape: TileShape;
  /** Taken for products of so many workgroups or more. */
  readonly workgroups: number;
}

/**
 * By `npm run tune:webgpu`. Four rows by four columns a thread are faster than more, and workgroups that take little of the
 * workgroup memory faster than others, since more of them are on a processor. Products of few tiles are fastest by two teams
 * and deep steps; the last is for rows that no such step divides.
 */
export const CODE_TILES: readonly Choice[] = [
  { shape: { rows: 32, columns: 64, threadRows: 4, threadColumns: 4, depth: 16, buffers: 1 }, workgroups: 400 },
  { shape: { rows: 32, columns: 32, threadRows: 4, threadColumns: 4, depth: 32, teams: 2, buffers: 1 }, workgroups: 0 },
  { shape: { rows: 32, columns: 32, threadRows: 4, threadColumns: 4, depth: 16, buffers: 1 }, workgroups: 0 },
];

export const FLOAT_TILES: readonly Choice[] = [
  { shape: { rows: 64, columns: 64, threadRows: 8, threadColumns: 4, depth: 16, buffers: 1 }, workgroups: 256 },
  {
    shape: { rows: 32, columns: 32, threadRows: 4, threadColumns: 4, depth: 32, teams: 2, buffers: 1 },
    workgroups: 32,
  },
  { shape: { rows: 16, columns: 32, threadRows: 4, threadColumns: 4, depth: 8 }, workgroups: 0 },
];

function choose(
  tiles: readonly Choice[],
  rows: number,
  columns: number,
  depth: number,
  { limits, software }: TileHost,
): TileShape {
  const fits = ({ shape, workgroups }: Choice) =>
    tileBytes(shape) <= limits.maxComputeWorkgroupStorageSize &&
    tileThreads(shape) <= limits.maxComputeInvocationsPerWorkgroup &&
    depth % shape.depth === 0 &&
    !(software && teamsOf(shape) > 1) &&
    Math.ceil(rows / shape.rows) * Math.ceil(columns / shape.columns) >= workgroups;
  return (tiles.find(fits) ?? tiles[tiles.length - 1]).shape;
}

/**
 * @param columns of all layers of the dispatch together
 * @param words of a row, padded
 */
export const codesTile = (rows: number, columns: number, words: number, host: TileHost) =>
  choose(CODE_TILES, rows, columns, words, host);

/** Rows of floats need no room beyond their ends: any depth will do. */
export const floatTile = (rows: number, columns: number, host: TileHost) => choose(FLOAT_TILES, rows, columns, 0, host);
