/**
 * The search over tiles: every tile of the generators on the same product, in turns, so that what else the machine does
 * hits all alike. Web APIs only.
 */
import { assembleModule, type WasmFunction } from '../asm/function.ts';
import { gemmF32 } from '../kernels/gemm-f32.ts';
import { importsOf, type ModuleName } from '../kernels/index.ts';
import { type LinearTile, linearCodes, linearScratchBytes } from '../kernels/linear-codes.ts';
import { exportsOf } from '../load.ts';

export interface TileFigure extends LinearTile {
  /** Median over rounds of 10^9 multiply-adds a second, the geometric mean over shapes. */
  readonly gmacs: number;
}

const ROWS = [2, 4, 6, 8];
const UNROLLS = [1, 2, 4, 8];
/** [outputs, inputs] of the layers of PixArt at width 384 and 1152. */
const SHAPES = [
  [384, 384],
  [1536, 384],
  [384, 1536],
  [1152, 1152],
] as const;
const M = 192;
const MULTIPLY_ADDS_A_SAMPLE = 2e8;

const NAME = 'product';

/** Of the generator of a module. */
const tilesOf = (module: ModuleName): LinearTile[] =>
  (module === 'float' ? [1] : UNROLLS).flatMap((unroll) => ROWS.map((mr) => ({ mr, unroll })));

const generate = (module: ModuleName, tile: LinearTile): WasmFunction =>
  module === 'float' ? gemmF32(NAME, tile.mr) : linearCodes({ name: NAME, relaxed: module === 'relaxed', tile });

type Run = () => void;

const compile = (bytes: Uint8Array<ArrayBuffer>) => new WebAssembly.Module(bytes);

/**
 * Calls of one product on memory of zeros: the time does not depend on the values.
 *
 * @param imported what the product imports: one module for all tiles, since engines optimize a module by its use
 */
function prepare(
  module: ModuleName,
  imported: WebAssembly.Module,
  bits: 4 | 8 | 32,
  tile: LinearTile,
  n: number,
  k: number,
  memory: WebAssembly.Memory,
): Run {
  const modules = [imported, compile(assembleModule([generate(module, tile)], { imports: importsOf(module) }))];
  const exported: Record<string, unknown> = { ...exportsOf(modules, memory) };
  const product = exported[NAME] as (...parameters: number[]) => void;
  const a = 1024;
  const rows = a + (M + 8) * k * (module === 'float' ? 4 : 1);
  const panels = rows + 16 * M;
  const columns = panels + (n * k * bits) / 8;
  const out = columns + 16 * n;
  const scratch = out + 4 * M * n;
  const missing = scratch + linearScratchBytes(M, k / 4) - memory.buffer.byteLength;
  if (missing > 0) memory.grow(Math.ceil(missing / 65536));
  if (module === 'float') return () => product(M, n, k, a, 4 * k, panels, 32 * k, 32, 0, out, 4 * n, scratch);
  return () => product(M, n, k / 4, a, rows, panels, columns, out, 4 * n, scratch, bits, k / 4, 0, 0);
}

export function searchTiles(module: ModuleName, bits: 4 | 8 | 32, rounds: number): TileFigure[] {
  const memory = new WebAssembly.Memory({ initial: 256 });
  const tiles = tilesOf(module);
  const imported = compile(assembleModule(importsOf(module)));
  const logs = tiles.map(() => 0);
  for (const [n, k] of SHAPES) {
    const runs = tiles.map((tile) => prepare(module, imported, bits, tile, n, k, memory));
    const turns = Math.ceil(MULTIPLY_ADDS_A_SAMPLE / (M * n * k));
    const samples = tiles.map((): number[] => []);
    for (let round = -1; round < rounds; round++) {
      for (const [t, run] of runs.entries()) {
        const start = performance.now();
        for (let turn = 0; turn < turns; turn++) run();
        // The first round only compiles.
        if (round >= 0) samples[t].push((turns * M * n * k) / (performance.now() - start) / 1e6);
      }
    }
    for (const [t, values] of samples.entries()) {
      logs[t] += Math.log(values.sort((x, y) => x - y)[Math.floor(values.length / 2)]) / SHAPES.length;
    }
  }
  return tiles.map((tile, t) => ({ ...tile, gmacs: Math.exp(logs[t]) }));
}
