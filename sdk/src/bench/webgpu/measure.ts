/** The whole benchmark of a GPU, in one run: ceilings, products by shape and kind, and steps of networks. */
import { tileBytes, tileThreads } from '@edge-dit/runtime/engines/webgpu/gemm-tile';
import { busyWork, type Ceilings, measureCeilings } from './ceilings.ts';
import { type DispatchClock, openClock } from './dispatch-clock.ts';
import {
  type ProductFigure,
  type ProductKind,
  type ProductShape,
  productKernel,
  tileOf,
  timeProduct,
} from './products.ts';
import { MODELS } from './random-model.ts';
import { type StepFigure, timeStep } from './steps.ts';

export interface WebGpuReport {
  readonly adapter: string;
  readonly host: string;
  readonly date: string;
  /** dot4I8Packed and float16 are there. */
  readonly packed: boolean;
  readonly half: boolean;
  readonly ceilings: Ceilings;
  /** Of float kinds the fastest of the tiles tried. */
  readonly products: readonly ProductFigure[];
  readonly steps: readonly StepFigure[];
}

export interface MeasureOptions {
  /** Small products and the smallest network, for a look at whether all runs. */
  readonly quick: boolean;
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
  tileOf(64, 128, 8, 8, 8),
  tileOf(64, 64, 8, 4, 16),
  tileOf(64, 64, 4, 4, 16),
  tileOf(32, 32, 4, 4, 16),
];

const BUSY_ROUNDS = 30;

export async function measureWebGpu(gpu: GPU, { quick, onProgress }: MeasureOptions): Promise<WebGpuReport> {
  const { clock, adapter, packed, half } = await openClock(gpu);
  onProgress(adapter);
  if (!quick) clock.busy = busyWork(clock, BUSY_ROUNDS);
  const ceilings = quick ? { packedDot: 0, f32: 0, memory: 0 } : await measureCeilings(clock, packed, half);
  onProgress(JSON.stringify(ceilings));
  const shapes = (quick ? [64] : ROWS).flatMap((rows) =>
    (quick ? LAYERS.slice(0, 1) : LAYERS).map(([columns, inputs]) => ({ rows, columns, inputs })),
  );
  const kinds = (['W4A8', 'W8A8', 'fp32', 'fp16'] as const).filter((kind) => kind !== 'fp16' || half);
  const products: ProductFigure[] = [];
  for (const kind of kinds) {
    for (const shape of shapes) {
      products.push(await bestProduct(clock, kind, shape, packed, quick));
      onProgress(lineOf(products[products.length - 1]));
    }
  }
  clock.close();
  const steps: StepFigure[] = [];
  for (const model of quick ? [] : MODELS) {
    for (const [bits, attention] of [
      [4, 'int8'],
      [8, 'float'],
    ] as const) {
      steps.push(await timeStep(gpu, model, bits, attention));
      onProgress(JSON.stringify(steps[steps.length - 1]));
    }
  }
  const host = `Node ${process.version.slice(1)}`;
  return { adapter, host, date: new Date().toISOString().slice(0, 10), packed, half, ceilings, products, steps };
}

async function bestProduct(
  clock: DispatchClock,
  kind: ProductKind,
  shape: ProductShape,
  packed: boolean,
  quick: boolean,
): Promise<ProductFigure> {
  if (kind === 'W4A8' || kind === 'W8A8') return timeProduct(clock, kind, shape, packed);
  const { maxComputeInvocationsPerWorkgroup: threads, maxComputeWorkgroupStorageSize: bytes } = clock.device.limits;
  const fitting = FLOAT_TILES.filter((t) => tileThreads(t) <= threads && tileBytes(t) <= bytes);
  const tiles = quick ? fitting.slice(-1) : fitting;
  await clock.prepare(tiles.map((t) => productKernel(kind, 1, packed, t)));
  const figures: ProductFigure[] = [];
  for (const t of tiles) figures.push(await timeProduct(clock, kind, shape, packed, t));
  return figures.reduce((best, figure) => (figure.nanoseconds < best.nanoseconds ? figure : best));
}

const lineOf = ({ kind, rows, columns, inputs, rate, nanoseconds, tile: name }: ProductFigure) =>
  `${kind} ${rows} x ${columns} x ${inputs}: ${rate.toFixed(2)} T/s, ${(nanoseconds / 1000).toFixed(1)} us (${name})`;
