/** From a compiled kernel module to typed functions over one memory. */

import type { Variant } from './kernels/index.ts';
import { type CodeForm, linearScratchBytes } from './kernels/linear-codes.ts';

type LinearKernel = (
  m: number,
  n: number,
  groups: number,
  a: number,
  rows: number,
  panels: number,
  columns: number,
  out: number,
  outStride: number,
  scratch: number,
  bits: number,
  size: number,
  steps: number,
  stepStride: number,
) => void;

/** What a module exports; every number is an i32 address or count unless named otherwise in the kernel's file. */
export interface KernelExports {
  /** Of codes up to 127, expanded where they have groups. */
  linear_u7: LinearKernel;
  /** Of any codes. */
  linear_u8: LinearKernel;
  unpack_codes(groups: number, panel: number, to: number, bits: number, size: number, step: number): void;
  float_panel(groups: number, codes: number, columns: number, out: number): void;
  gemm_f32(
    m: number,
    n: number,
    k: number,
    a: number,
    aStride: number,
    panels: number,
    panelStride: number,
    rowStride: number,
    bias: number,
    out: number,
    outStride: number,
    tail: number,
  ): void;
  norm_modulate(
    rows: number,
    cols: number,
    x: number,
    shift: number,
    scale: number,
    rowsPerVector: number,
    vectorStride: number,
    eps: number,
    out: number,
  ): void;
  norm_modulate_quantize(
    rows: number,
    cols: number,
    x: number,
    shift: number,
    scale: number,
    rowsPerVector: number,
    vectorStride: number,
    eps: number,
    line: number,
    balance: number,
    codes: number,
    records: number,
    steps: number,
  ): void;
  gelu(rows: number, cols: number, x: number, out: number): void;
  silu(rows: number, cols: number, x: number, out: number): void;
  quantize(
    rows: number,
    cols: number,
    x: number,
    xStride: number,
    line: number,
    balance: number,
    codes: number,
    records: number,
    steps: number,
  ): void;
  gelu_quantize(
    rows: number,
    cols: number,
    x: number,
    xStride: number,
    line: number,
    balance: number,
    codes: number,
    records: number,
    steps: number,
  ): void;
  rotate_rows(
    rows: number,
    order: number,
    block: number,
    x: number,
    factors: number,
    flips: number,
    line: number,
    out: number,
  ): void;
  gated_add(
    rows: number,
    cols: number,
    y: number,
    gate: number,
    rowsPerVector: number,
    vectorStride: number,
    x: number,
  ): void;
  add_rows(rows: number, cols: number, x: number, table: number, tableRows: number, out: number): void;
  softmax_block(rows: number, cols: number, x: number, bias: number, scale: number, states: number, last: number): void;
  add_block(rows: number, cols: number, y: number, states: number, out: number, outStride: number): void;
  quantize_keys(
    keys: number,
    depth: number,
    x: number,
    xStride: number,
    scale: number,
    bias: number,
    shift: number,
    panels: number,
    columns: number,
  ): void;
  quantize_values(
    keys: number,
    depth: number,
    x: number,
    xStride: number,
    shift: number,
    panels: number,
    columns: number,
  ): void;
  softmax_quantize(rows: number, cols: number, x: number, xStride: number, codes: number, records: number): void;
  transpose_panels(rows: number, cols: number, x: number, xStride: number, out: number): void;
}

export interface Kernels extends KernelExports {
  readonly variant: Variant;
  /** How `linear_u8` reads its codes; with `signed`, zeros, sums and bases of columns are those of codes minus 128. */
  readonly form: CodeForm;
}

/**
 * A module with one function that drops a relaxed dot of three zeros: engines that know the instruction call it valid.
 * As bytes, because every worker carries this file, and the assembler would come with it.
 */
// biome-ignore format: one section a line
const RELAXED_PROBE = Uint8Array.of(
  0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0, // magic, version
  1, 4, 1, 0x60, 0, 0, // type: () -> ()
  3, 2, 1, 0, // one function of it
  10, 20, 1, 18, 0, // its code, no locals
  0x41, 0, 0xfd, 0x11, 0x41, 0, 0xfd, 0x11, 0x41, 0, 0xfd, 0x11, // i32x4.splat(0), three times
  0xfd, 0x93, 0x02, 0x1a, 0x0b, // i32x4.relaxed_dot_i8x16_i7x16_add_s, drop, end
);

/** The variants that this engine can compile, fastest first. */
export function supportedVariants(): Variant[] {
  return WebAssembly.validate(RELAXED_PROBE) ? ['relaxed', 'simd'] : ['simd'];
}

/** Compiled modules: the float passes, and as many variants of the quantized linears as a host ships. */
export type KernelModules = { readonly float: WebAssembly.Module } & { readonly [V in Variant]?: WebAssembly.Module };

/**
 * Instantiates the float passes and one variant of the linears over `memory`. The first 128 bytes of memory are used and
 * zeroed again: call it before the memory holds anything.
 */
export function instantiateKernels(
  float: WebAssembly.Module,
  linear: WebAssembly.Module,
  memory: WebAssembly.Memory,
  variant: Variant,
): Kernels {
  const exported = exportsOf([float, linear], memory);
  const form = exported.dot_probe === undefined ? 'unsigned' : probeForm(exported.dot_probe, memory);
  return { ...exported, linear_u8: linearOfForm(exported, form), variant, form };
}

/** What modules over one memory export together; each may import what those before it export. */
export function exportsOf(
  modules: readonly WebAssembly.Module[],
  memory: WebAssembly.Memory,
): KernelExports & FormExports {
  const env = { memory };
  for (const module of modules) Object.assign(env, new WebAssembly.Instance(module, { env }).exports);
  return env as unknown as KernelExports & FormExports;
}

interface FormExports extends Pick<KernelExports, 'linear_u7'> {
  readonly linear_u8_nibbles?: LinearKernel;
  dot_probe?(x: number, y: number, out: number): void;
}

/** Codes beyond 127 go where the others do, but in nibbles. */
export function linearOfForm(exported: FormExports, form: CodeForm): LinearKernel {
  return (form === 'nibbles' && exported.linear_u8_nibbles) || exported.linear_u7;
}

/** Bytes at which engines part ways: products that saturate 16 bits, and the sign of the second operand. */
const PROBE_X = [127, 127, 127, 127, -127, -127, -127, -127, 127, -127, 127, -127, 1, -1, 100, -128];
const PROBE_Y = [255, 255, 255, 255, 255, 255, 255, 255, 128, 129, 200, 255, 255, 128, 254, 131];

function probeForm(dot: (x: number, y: number, out: number) => void, memory: WebAssembly.Memory): CodeForm {
  new Int8Array(memory.buffer).set(PROBE_X, 0);
  new Uint8Array(memory.buffer).set(PROBE_Y, 16);
  dot(0, 16, 32);
  const got = [...new Int32Array(memory.buffer, 32, 4)];
  new Uint8Array(memory.buffer).fill(0, 0, 128);
  const sums = (value: (y: number) => number) =>
    [0, 4, 8, 12].map((at) => [0, 1, 2, 3].reduce((sum, i) => sum + PROBE_X[at + i] * value(PROBE_Y[at + i]), 0));
  const equals = (expected: number[]) => expected.every((value, i) => value === got[i]);
  if (equals(sums((y) => y))) return 'unsigned';
  if (equals(sums((y) => (y << 24) >> 24))) return 'signed';
  return 'nibbles';
}

export type { CodeForm, Variant };
export { linearScratchBytes };
