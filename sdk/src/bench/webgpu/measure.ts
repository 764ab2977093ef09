/** The whole benchmark of a GPU, in one run: ceilings, products by shape and kind, and steps of networks. */
import { tileBytes, tileThreads } from '@edge-dit/runtime/engines/webgpu/gemm-tile';
import { type AttentionProducts, type AttentionShape, timeAttentionProducts } from './attention-products.ts';
import { busyWork, type Ceilings, type Floor, measureCeilings, measureFloor } from './ceilings.ts';
import { type DispatchClock, openClock } from './dispatch-clock.ts';
import { OrtProducts } from './ort-products.ts';
import { type Candidate, COPIES, type ProductFigure, type ProductShape, tileOf, timeProducts } from './products.ts';
import type { StepModel } from './step-models.ts';
import { type StepFigure, timeStep } from './steps.ts';

export interface WebGpuReport {
  readonly adapter: string;
  readonly host: string;
  readonly date: string;
  /** dot4I8Packed and float16 are there. */
  readonly packed: boolean;
  readonly half: boolean;
  readonly ceilings: Ceilings;
  readonly floor: Floor;
  /** Of float kinds the fastest of the tiles tried. */
  readonly products: readonly ProductFigure[];
  readonly steps: readonly StepFigure[];
  /** The products of the steps' attentions. */
  readonly attentions: readonly AttentionProducts[];
}

export interface MeasureOptions {
  /** Small products and the smallest network, for a look at whether all runs. */
  readonly quick: boolean;
  /** Whose steps are timed. */
  readonly models: readonly StepModel[];
  /** Called whenever there is more to report. */
  readonly onReport: (report: WebGpuReport) => void;
  readonly onProgress: (line: string) => void;
}

const ROWS = [256, 1024, 4096];
/** Outputs and inputs: of width 384, as the emoji model, and 1152, as DiT-XL and PixArt-XL. */
const LAYERS = [384, 1152].flatMap((width) => [
  [width, width],
  [4 * width, width],
  [width, 4 * width],
]);

/** So that no float product is slow for want of a tile. */
const FLOAT_TILES = [
  tileOf(128, 128, 8, 8, 8),
  tileOf(128, 128, 8, 8, 16),
  tileOf(64, 128, 8, 8, 16, { buffers: 1 }),
  tileOf(64, 64, 8, 4, 16, { buffers: 1 }),
  tileOf(64, 64, 4, 4, 16),
  tileOf(32, 64, 4, 4, 16, { buffers: 1 }),
  tileOf(32, 32, 4, 4, 16),
  tileOf(32, 32, 4, 4, 32, { teams: 2, buffers: 1 }),
];

/** The loop of dot4I8Packed takes a GPU in software minutes. */
const QUICK = { rounds: 1, ceilings: false };

/** About a fifth of a second. */
const BUSY_ROUNDS = 200;

export async function measureWebGpu(
  gpu: GPU,
  { quick, models, onReport, onProgress }: MeasureOptions,
): Promise<WebGpuReport> {
  const { clock, adapter, packed, half } = await openClock(gpu);
  onProgress(adapter);
  if (!quick) clock.busy = busyWork(clock, BUSY_ROUNDS);
  const ceilings = quick ? { packedDot: 0, f32: 0, memory: 0 } : await measureCeilings(clock, packed, half);
  const floor = await measureFloor(clock, COPIES);
  onProgress(JSON.stringify({ ...ceilings, floor }));
  const shapes = (quick ? [64] : ROWS).flatMap((rows) =>
    (quick ? LAYERS.slice(0, 1) : LAYERS).map(([columns, inputs]) => ({ rows, columns, inputs })),
  );
  const products: ProductFigure[] = [];
  const steps: StepFigure[] = [];
  const host = `Node ${process.version.slice(1)}`;
  const date = new Date().toISOString().slice(0, 10);
  const attentions: AttentionProducts[] = [];
  const report = () => ({ adapter, host, date, packed, half, ceilings, floor, products, steps, attentions });
  const add = (figures: readonly ProductFigure[]) => {
    products.push(...figures);
    for (const figure of figures) onProgress(lineOf(figure));
    onReport(report());
  };
  const floats = half ? (['fp32', 'fp16'] as const) : (['fp32'] as const);
  for (const shape of shapes) add(await fastest(clock, shape, packed, floats, quick));
  const ort = await OrtProducts.open(gpu, clock);
  for (const kind of floats) for (const shape of shapes) add([await ort.time(kind, shape, quick ? 1 : undefined)]);
  for (const model of models) {
    const figure = await timeStep(gpu, model);
    steps.push(figure);
    onProgress(JSON.stringify(figure));
    for (const { shape } of figure.attentions) {
      if (attentions.some((known) => isShape(known, shape))) continue;
      attentions.push(await timeAttentionProducts(clock, shape, packed, quick ? 1 : undefined));
      onProgress(JSON.stringify(attentions.at(-1)));
    }
    onReport(report());
  }
  clock.close();
  return report();
}

const isShape = (known: AttentionShape, { precision, heads, tokens, keys, depth }: AttentionShape) =>
  known.precision === precision &&
  known.heads === heads &&
  known.tokens === tokens &&
  known.keys === keys &&
  known.depth === depth;

/** Milliseconds of the products of a step's attentions, in a row. */
export const attentionMs = ({ attentions: calls }: StepFigure, { attentions }: WebGpuReport): number =>
  calls.reduce((sum, { shape, calls: count }) => {
    const { scores, values } = attentions.find((known) => isShape(known, shape))!;
    return sum + (count * (scores.inRow + values.inRow)) / 1e6;
  }, 0);

/** Of the engine's products, and of float ones the fastest of some tiles. */
async function fastest(
  clock: DispatchClock,
  shape: ProductShape,
  packed: boolean,
  floats: readonly ('fp32' | 'fp16')[],
  quick: boolean,
): Promise<ProductFigure[]> {
  const { maxComputeInvocationsPerWorkgroup: threads, maxComputeWorkgroupStorageSize: bytes } = clock.device.limits;
  const fitting = FLOAT_TILES.filter((t) => tileThreads(t) <= threads && tileBytes(t) <= bytes);
  const tiles = quick ? fitting.slice(-1) : fitting;
  const candidates: Candidate[] = [
    { kind: 'W4A8' },
    { kind: 'W8A8' },
    ...floats.flatMap((kind) => tiles.map((tile) => ({ kind, tile }))),
  ];
  const figures = await timeProducts(clock, shape, packed, candidates, quick ? QUICK : {});
  return [...new Set(figures.map(({ kind }) => kind))].map((kind) => {
    const own = figures.filter((figure) => figure.kind === kind);
    const inRow = least(own.map((figure) => figure.inRow!));
    return { ...least(own), inRow };
  });
}

const least = <T extends { readonly nanoseconds: number }>(list: readonly T[]): T =>
  list.reduce((best, one) => (one.nanoseconds < best.nanoseconds ? one : best));

function lineOf({ kind, rows, columns, inputs, inRow, ...apart }: ProductFigure): string {
  const said = [apart, inRow!].map(
    ({ rate, nanoseconds, tile }) => `${rate.toFixed(2)} T/s, ${(nanoseconds / 1000).toFixed(1)} us (${tile})`,
  );
  return `${kind} ${rows} x ${columns} x ${inputs}: ${said.join('; in a row ')}`;
}
