/** What is measured, by how much time there is: a minute, some minutes, or all shapes. */
import type { Effort } from './core/parts.ts';

export const SIZES = ['quick', 'usual', 'full'] as const;
export type Size = (typeof SIZES)[number];

/** `pictures` has the worker's start too, `step` where its time goes and threads, `growth` steps by tokens and blocks. */
export const BENCH_PARTS = ['pictures', 'step', 'linear', 'growth'] as const;
export type BenchPart = (typeof BENCH_PARTS)[number];

/** Of a linear layer: rows, output and input features. */
export interface Shape {
  readonly m: number;
  readonly n: number;
  readonly k: number;
}

export interface Plan {
  readonly effort: Effort;
  /** Of one thread beside several, where a sample must outlast the waking of the other cores. */
  readonly threadsEffort: Effort;
  readonly gemm: readonly Shape[];
  /** Measured in the first host only. */
  readonly manyRows: readonly Shape[];
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
/** The samples of one thread let the other cores sleep; those of a virtual machine need a second or two to wake. */
const THREADS_EFFORT: Effort = { ...EFFORT, sampleMs: 2500 };
/** Of the emoji model, and of DiT-XL and PixArt-XL: feed forwards are four times as wide. */
const WIDTHS = [384, 1152];
const ROWS = 256;
const MANY_ROWS = [1024, 4096];

/** The layers that those networks have. */
const layersOn = (m: number): Shape[] =>
  WIDTHS.flatMap((width) => [
    { m, n: width, k: width },
    { m, n: 4 * width, k: width },
    { m, n: width, k: 4 * width },
  ]);

/** Every pair of their widths: where goals are about the worst. */
const pairsOn = (m: number): Shape[] => {
  const features = WIDTHS.flatMap((width) => [width, 4 * width]);
  return features.flatMap((k) => features.map((n) => ({ m, n, k })));
};

const SCALING = [
  ...[64, 256, 1024, 4096].map((tokens) => ({ tokens, depth: 2 })),
  ...[1, 4, 8, 16].map((depth) => ({ tokens: 256, depth })),
];

const usual: Plan = {
  effort: EFFORT,
  threadsEffort: THREADS_EFFORT,
  gemm: pairsOn(ROWS),
  manyRows: [],
  profileSteps: 20,
  scaling: SCALING,
  pictureRounds: 7,
  startupRounds: 7,
};

export const plans: Record<Size, Plan> = {
  quick: {
    effort: EFFORT,
    threadsEffort: THREADS_EFFORT,
    gemm: layersOn(ROWS).slice(1, 3),
    manyRows: [],
    forms: ['w4a8', 'fp32', 'int8-dynamic'],
    profileSteps: 5,
    scaling: [],
    pictureRounds: 1,
    startupRounds: 3,
  },
  usual,
  full: { ...usual, manyRows: MANY_ROWS.flatMap(layersOn) },
};
