/** The list of kernels: what is in it is assembled, exported, tested and measured. */
import type { WasmFunction } from '../asm/function.ts';
import { quantizeKeys, quantizeValues, softmaxQuantize } from './attention-codes.ts';
import { dotProbe } from './dot-probe.ts';
import { gemmF32 } from './gemm-f32.ts';
import { linearCodes } from './linear-codes.ts';
import * as rows from './rows.ts';
import { TILE_ROWS } from './tiles.ts';

/** How the integer product is computed. `simd` runs wherever WebAssembly SIMD does. */
export const VARIANTS = ['simd', 'relaxed'] as const;
export type Variant = (typeof VARIANTS)[number];

/** The modules: the float passes, which are the same bits everywhere, and the quantized linears of each variant. */
export const MODULES = ['float', ...VARIANTS] as const;
export type ModuleName = (typeof MODULES)[number];

const floatKernels: readonly WasmFunction[] = [
  gemmF32('gemm_f32', TILE_ROWS.float),
  rows.normModulateRows,
  rows.normModulateQuantizeRows,
  rows.geluRows,
  rows.geluQuantizeRows,
  rows.siluRows,
  rows.quantizeActivations,
  rows.gatedAdd,
  rows.addRows,
  rows.softmaxRows,
  rows.transposePanels,
  quantizeKeys,
  quantizeValues,
  softmaxQuantize,
];

const linearKernels: Record<Variant, readonly WasmFunction[]> = {
  simd: [
    linearCodes({ name: 'linear_u8', bits: 8, relaxed: false, form: 'unsigned', mr: TILE_ROWS.simd }),
    linearCodes({ name: 'linear_u4', bits: 4, relaxed: false, form: 'unsigned', mr: TILE_ROWS.simd }),
  ],
  relaxed: [
    linearCodes({ name: 'linear_u8', bits: 8, relaxed: true, form: 'unsigned', mr: TILE_ROWS.relaxed }),
    linearCodes({ name: 'linear_u8_signed', bits: 8, relaxed: true, form: 'signed', mr: TILE_ROWS.relaxed }),
    linearCodes({ name: 'linear_u8_nibbles', bits: 8, relaxed: true, form: 'nibbles', mr: TILE_ROWS.relaxed }),
    linearCodes({ name: 'linear_u4', bits: 4, relaxed: true, form: 'unsigned', mr: TILE_ROWS.relaxed }),
    dotProbe,
  ],
};

export function kernelsOf(module: ModuleName): readonly WasmFunction[] {
  return module === 'float' ? floatKernels : linearKernels[module];
}
