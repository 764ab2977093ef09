/** The list of kernels: what is in it is assembled, exported, tested and measured. */
import type { WasmFunction } from '../asm/function.ts';
import { quantizeKeys, quantizeValues, softmaxQuantize } from './attention-codes.ts';
import { addBlock, softmaxBlock } from './attention-float.ts';
import { dotProbe } from './dot-probe.ts';
import { floatPanel } from './float-panel.ts';
import { gemmF32 } from './gemm-f32.ts';
import { linearCodes } from './linear-codes.ts';
import { rotateRows } from './rotate.ts';
import * as rows from './rows.ts';
import { FLOAT_ROWS, LINEAR_TILES } from './tiles.ts';
import { unpackCodes } from './unpack-codes.ts';

/** How the integer product is computed. `simd` runs wherever WebAssembly SIMD does. */
export const VARIANTS = ['simd', 'relaxed'] as const;
export type Variant = (typeof VARIANTS)[number];

/** The modules: the float passes, which are the same bits everywhere, and the quantized linears of each variant. */
export const MODULES = ['float', ...VARIANTS] as const;
export type ModuleName = (typeof MODULES)[number];

const floatKernels: readonly WasmFunction[] = [
  gemmF32('gemm_f32', FLOAT_ROWS),
  rows.normModulateRows,
  rows.normModulateQuantizeRows,
  rows.geluRows,
  rows.geluQuantizeRows,
  rows.siluRows,
  rows.quantizeActivations,
  rotateRows,
  rows.gatedAdd,
  rows.addRows,
  softmaxBlock,
  addBlock,
  rows.transposePanels,
  unpackCodes,
  floatPanel,
  quantizeKeys,
  quantizeValues,
  softmaxQuantize,
];

const linearKernels: Record<Variant, readonly WasmFunction[]> = {
  simd: [linearCodes({ name: 'linear_u7', relaxed: false, tile: LINEAR_TILES.simd })],
  relaxed: [
    linearCodes({ name: 'linear_u7', relaxed: true, tile: LINEAR_TILES.relaxed }),
    linearCodes({ name: 'linear_u8_nibbles', relaxed: true, nibbles: true, tile: LINEAR_TILES.relaxed }),
    dotProbe,
  ],
};

/** What a module takes from the float module. */
export function importsOf(module: ModuleName): readonly WasmFunction[] {
  return module === 'float' ? [] : [unpackCodes];
}

export function kernelsOf(module: ModuleName): readonly WasmFunction[] {
  return module === 'float' ? floatKernels : linearKernels[module];
}
