/** What is measured, by how much time there is: a minute, some minutes, or all shapes. */
import type { Effort } from './core/parts.ts';

export const SIZES = ['quick', 'usual', 'full'] as const;
export type Size = (typeof SIZES)[number];

export interface Plan {
  readonly effort: Effort;
  /** Rows, output and input features. */
  readonly gemm: readonly { readonly m: number; readonly n: number; readonly k: number }[];
  /** Published forms and ONNX forms of the model of which a step is measured, by name; all of them without. */
  readonly forms?: readonly string[];
  readonly profileSteps: number;
  /** Tokens and blocks of random networks, in the first host. */
  readonly scaling: readonly { readonly tokens: number; readonly depth: number }[];
  readonly pictureRounds: number;
  readonly startupRounds: number;
}

/** At least seven, so that a median means something; a sample of 5 ms, or 50 ticks of the clock. */
const EFFORT: Effort = { rounds: 7, sampleMs: 5, warmUpMs: 60 };
const FULL_FEATURES = [384, 1152, 1536, 4608];
const FULL_ROWS = [256, 1024, 4096];

/** Width 384 is the emoji model's; 1152 is that of DiT-XL and PixArt-XL. Feed forwards are four times as wide. */
const SHAPES = [384, 1152].flatMap((width) => [
  { m: 256, n: width, k: width },
  { m: 256, n: 4 * width, k: width },
  { m: 256, n: width, k: 4 * width },
]);

const SCALING = [
  ...[64, 256, 1024, 4096].map((tokens) => ({ tokens, depth: 2 })),
  ...[1, 4, 8, 16].map((depth) => ({ tokens: 256, depth })),
];

const usual: Plan = {
  effort: EFFORT,
  gemm: SHAPES,
  profileSteps: 20,
  scaling: SCALING,
  pictureRounds: 7,
  startupRounds: 7,
};

export const plans: Record<Size, Plan> = {
  quick: {
    effort: EFFORT,
    gemm: SHAPES.slice(1, 3),
    forms: ['w4a8', 'fp32', 'int8-dynamic'],
    profileSteps: 5,
    scaling: [],
    pictureRounds: 1,
    startupRounds: 3,
  },
  usual,
  full: {
    ...usual,
    gemm: FULL_ROWS.flatMap((m) => FULL_FEATURES.flatMap((k) => FULL_FEATURES.map((n) => ({ m, n, k })))),
  },
};
