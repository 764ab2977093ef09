/**
 * Searches the tiles of the matrix kernels on this machine and prints the table; `--save` writes docs/bench/tiles.md.
 * The chosen ones are in wasm-kernels/src/kernels/tiles.ts.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { fileURLToPath } from 'node:url';
import { supportedVariants } from '@edge-dit/wasm-kernels';
import { searchTiles } from '@edge-dit/wasm-kernels/bench/tile-search';

const ROUNDS = 9;

const kernels = [
  ...supportedVariants().flatMap((variant) => ([4, 8] as const).map((bits) => [variant, bits] as const)),
  ['float', 32] as const,
];
const columns = kernels.map(([module, bits]) => searchTiles(module, bits, ROUNDS));
const cell = (column: number, row: number) => {
  // Float products are not unrolled.
  if (row >= columns[column].length) return '';
  const { gmacs } = columns[column][row];
  const best = Math.max(...columns[column].map((figure) => figure.gmacs));
  return gmacs === best ? `**${gmacs.toFixed(1)}**` : gmacs.toFixed(1);
};
const lines = [
  '# Tiles of the matrix kernels',
  '',
  `GMAC/s by rows of a tile of 8 columns, and by groups of four k in a turn of its loop: medians of ${ROUNDS} interleaved rounds, geometric mean over four layer shapes of PixArt,`,
  `192 rows, one thread. Node ${process.version.slice(1)}, ${cpus()[0].model.trim()}, ${new Date().toISOString().slice(0, 10)}, by \`npm run tune -- --save\`.`,
  'The best of each is bold; [tiles.ts](../../wasm-kernels/src/kernels/tiles.ts) has what is built.',
  '',
  `| rows | groups | ${kernels.map(([module, bits]) => `${module}, ${bits}-bit`).join(' | ')} |`,
  `|---:|---:|${kernels.map(() => '---:').join('|')}|`,
  ...columns[0].map(
    ({ mr, unroll }, row) => `| ${mr} | ${unroll} | ${columns.map((_, column) => cell(column, row)).join(' | ')} |`,
  ),
];
console.log(lines.join('\n'));
if (process.argv.includes('--save')) {
  const folder = fileURLToPath(new URL('../../docs/bench/', import.meta.url));
  mkdirSync(folder, { recursive: true });
  writeFileSync(`${folder}tiles.md`, `${lines.join('\n')}\n`);
}
