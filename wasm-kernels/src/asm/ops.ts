/**
 * The instructions that the kernels use, one row each. An expression is its type and its bytes, so composing
 * expressions is concatenation, and TypeScript refuses an i32 where a v128 is due.
 */
import { type Bytes, float32Bytes, signedLeb, unsignedLeb } from './encode.ts';

export type ValueType = 'i32' | 'f32' | 'v128';

export interface Expr<T extends ValueType> {
  readonly type: T;
  readonly code: Bytes;
}

/** Instructions that leave nothing on the stack. */
export type Statement = Bytes;

type Operands<A extends readonly ValueType[]> = { [K in keyof A]: Expr<A[K]> };

const instruction =
  <R extends ValueType, const A extends readonly ValueType[]>(type: R, opcode: Bytes, _operands: A) =>
  (...operands: Operands<A>): Expr<R> => ({
    type,
    code: [...(operands as readonly Expr<ValueType>[]).flatMap((operand) => operand.code), ...opcode],
  });

const load =
  <R extends ValueType>(type: R, opcode: Bytes) =>
  (address: Expr<'i32'>, offset = 0): Expr<R> => ({
    type,
    code: [...address.code, ...opcode, 0, ...unsignedLeb(offset)],
  });

const store =
  <V extends ValueType>(opcode: Bytes, _value: V) =>
  (address: Expr<'i32'>, value: Expr<V>, offset = 0): Statement => [
    ...address.code,
    ...value.code,
    ...opcode,
    0,
    ...unsignedLeb(offset),
  ];

const simd = (opcode: number): Bytes => [0xfd, ...unsignedLeb(opcode)];
const II = ['i32', 'i32'] as const;
const F = ['f32'] as const;
const FF = ['f32', 'f32'] as const;
const V = ['v128'] as const;
const VV = ['v128', 'v128'] as const;
const VVV = ['v128', 'v128', 'v128'] as const;

export const i32 = {
  const: (value: number): Expr<'i32'> => ({ type: 'i32', code: [0x41, ...signedLeb(value)] }),
  load: load('i32', [0x28]),
  load8_s: load('i32', [0x2c]),
  store: store([0x36], 'i32'),
  store8: store([0x3a], 'i32'),
  eqz: instruction('i32', [0x45], ['i32']),
  ne: instruction('i32', [0x47], II),
  lt_s: instruction('i32', [0x48], II),
  /** For addresses, which may lie beyond 2 GiB. */
  lt_u: instruction('i32', [0x49], II),
  gt_s: instruction('i32', [0x4a], II),
  ge_s: instruction('i32', [0x4e], II),
  add: instruction('i32', [0x6a], II),
  sub: instruction('i32', [0x6b], II),
  mul: instruction('i32', [0x6c], II),
  div_u: instruction('i32', [0x6e], II),
  and: instruction('i32', [0x71], II),
  or: instruction('i32', [0x72], II),
  shl: instruction('i32', [0x74], II),
  shr_u: instruction('i32', [0x76], II),
};

export const f32 = {
  const: (value: number): Expr<'f32'> => ({ type: 'f32', code: [0x43, ...float32Bytes(value)] }),
  load: load('f32', [0x2a]),
  store: store([0x38], 'f32'),
  sqrt: instruction('f32', [0x91], F),
  add: instruction('f32', [0x92], FF),
  sub: instruction('f32', [0x93], FF),
  mul: instruction('f32', [0x94], FF),
  div: instruction('f32', [0x95], FF),
  min: instruction('f32', [0x96], FF),
  max: instruction('f32', [0x97], FF),
  convert_i32_s: instruction('f32', [0xb2], ['i32']),
  gt: instruction('i32', [0x5e], FF),
  /** `a` where `condition` is not 0, else `b`. */
  select: (a: Expr<'f32'>, b: Expr<'f32'>, condition: Expr<'i32'>): Expr<'f32'> => ({
    type: 'f32',
    code: [...a.code, ...b.code, ...condition.code, 0x1b],
  }),
};

export const v128 = {
  const: (bytes: readonly number[]): Expr<'v128'> => ({ type: 'v128', code: [...simd(12), ...bytes] }),
  zero: { type: 'v128', code: [...simd(12), ...new Array<number>(16).fill(0)] } as Expr<'v128'>,
  load: load('v128', simd(0)),
  load8x8_s: load('v128', simd(1)),
  load32_splat: load('v128', simd(9)),
  load64_splat: load('v128', simd(10)),
  load64_zero: load('v128', simd(93)),
  store: store(simd(11), 'v128'),
  and: instruction('v128', simd(78), VV),
  or: instruction('v128', simd(80), VV),
  xor: instruction('v128', simd(81), VV),
  any_true: instruction('i32', simd(83), V),
};

export const i8x16 = {
  splat: instruction('v128', simd(15), ['i32']),
  /** Bytes `lanes` of the 32 bytes of `a` and `b`. */
  shuffle: (a: Expr<'v128'>, b: Expr<'v128'>, lanes: readonly number[]): Expr<'v128'> => ({
    type: 'v128',
    code: [...a.code, ...b.code, ...simd(13), ...lanes],
  }),
  shr_u: instruction('v128', simd(109), ['v128', 'i32']),
  add: instruction('v128', simd(110), VV),
  min_s: instruction('v128', simd(118), VV),
  max_s: instruction('v128', simd(120), VV),
  narrow_i16x8_s: instruction('v128', simd(101), VV),
  narrow_i16x8_u: instruction('v128', simd(102), VV),
};

export const i16x8 = {
  splat: instruction('v128', simd(16), ['i32']),
  extadd_pairwise_i8x16_s: instruction('v128', simd(124), V),
  extadd_pairwise_i8x16_u: instruction('v128', simd(125), V),
  narrow_i32x4_s: instruction('v128', simd(133), VV),
  extend_low_i8x16_u: instruction('v128', simd(137), V),
  extend_high_i8x16_u: instruction('v128', simd(138), V),
  shr_u: instruction('v128', simd(141), ['v128', 'i32']),
  mul: instruction('v128', simd(149), VV),
};

/** Picks one 32-bit lane; `lane` is part of the instruction. */
const extract =
  <R extends ValueType>(type: R, opcode: number) =>
  (vector: Expr<'v128'>, lane: 0 | 1 | 2 | 3): Expr<R> => ({ type, code: [...vector.code, ...simd(opcode), lane] });

export const i32x4 = {
  splat: instruction('v128', simd(17), ['i32']),
  extract_lane: extract('i32', 27),
  add: instruction('v128', simd(174), VV),
  sub: instruction('v128', simd(177), VV),
  mul: instruction('v128', simd(181), VV),
  min_s: instruction('v128', simd(182), VV),
  max_s: instruction('v128', simd(184), VV),
  extadd_pairwise_i16x8_s: instruction('v128', simd(126), V),
  shl: instruction('v128', simd(171), ['v128', 'i32']),
  extend_low_i16x8_u: instruction('v128', simd(169), V),
  extend_high_i16x8_u: instruction('v128', simd(170), V),
  dot_i16x8_s: instruction('v128', simd(186), VV),
  /**
   * a + the sums of four products of signed bytes (first operand) by bytes 0..127 (second operand). Engines
   * agree only inside that range: outside, x86 reads the second operand as unsigned, Arm as signed, and
   * processors without VNNI saturate.
   */
  relaxed_dot_i8x16_i7x16_add_s: instruction('v128', simd(275), VVV),
};

export const f32x4 = {
  splat: instruction('v128', simd(19), ['f32']),
  gt: instruction('v128', simd(68), VV),
  extract_lane: extract('f32', 31),
  neg: instruction('v128', simd(225), V),
  add: instruction('v128', simd(228), VV),
  sub: instruction('v128', simd(229), VV),
  mul: instruction('v128', simd(230), VV),
  div: instruction('v128', simd(231), VV),
  /** a b + c, rounded once or twice, as the processor likes: for measurements. */
  relaxed_madd: instruction('v128', simd(261), VVV),
  /** `b < a ? b : a`: one instruction on x86, where `min` takes eight. */
  pmin: instruction('v128', simd(234), VV),
  /** `a < b ? b : a`. */
  pmax: instruction('v128', simd(235), VV),
  convert_i32x4_s: instruction('v128', simd(250), V),
};
