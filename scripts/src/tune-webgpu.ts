/**
 * Times the GPU kernels of this machine in many shapes of tiles, and prints tables: what engines/webgpu/tiles.ts chooses
 * from. Needs a GPU with `timestamp-query`; `--quick` takes small products, for a look at whether all runs.
 */
import { codedAttention } from '@edge-dit/runtime/engines/webgpu/attention-codes';
import { floatAttention } from '@edge-dit/runtime/engines/webgpu/attention-float';
import { type TileShape, tileBytes, tileThreads } from '@edge-dit/runtime/engines/webgpu/gemm-tile';
import { nodeGpu } from '@edge-dit/runtime/testing/node-gpu';
import { busyWork, measureCeilings } from '@edge-dit/sdk/bench/webgpu/ceilings';
import { openClock } from '@edge-dit/sdk/bench/webgpu/dispatch-clock';
import {
  type ProductKind,
  type ProductShape,
  productKernel,
  tileName,
  tileOf,
  timeProduct,
} from '@edge-dit/sdk/bench/webgpu/products';

const quick = process.argv.includes('--quick');
const gpu = await nodeGpu(['enable-dawn-features=allow_unsafe_apis', 'disable-dawn-features=timestamp_quantization']);
if (typeof gpu === 'string') {
  console.error(gpu);
  process.exit(1);
}
const { clock, adapter, packed, half } = await openClock(gpu);
console.log(adapter, { packed, half }, clock.device.limits.maxComputeWorkgroupStorageSize);
const log = (title: string) => console.log(`\n== ${title} (${(performance.now() / 1000).toFixed(0)} s)`);

if (!quick) {
  clock.busy = busyWork(clock, 30);
  log('ceilings');
  console.log(JSON.stringify(await measureCeilings(clock, packed, half)));
}

const CODE_TILES = [
  tileOf(128, 128, 8, 8, 16),
  tileOf(128, 64, 8, 8, 16),
  tileOf(64, 128, 8, 8, 8),
  tileOf(128, 128, 8, 4, 16),
  tileOf(64, 64, 8, 8, 8),
  tileOf(64, 64, 8, 4, 16),
  tileOf(64, 64, 4, 8, 16),
  tileOf(64, 64, 4, 4, 16),
  tileOf(64, 32, 4, 4, 16),
  tileOf(32, 64, 4, 4, 16),
  tileOf(32, 32, 4, 4, 16),
];
const FLOAT_TILES = [
  tileOf(128, 128, 8, 8, 8),
  tileOf(128, 128, 8, 8, 16),
  tileOf(64, 64, 8, 4, 16),
  tileOf(64, 64, 4, 4, 16),
  tileOf(128, 64, 8, 8, 16),
  tileOf(64, 128, 8, 8, 8),
  tileOf(32, 32, 4, 4, 16),
];
const shape = (rows: number, columns: number, inputs: number, layers = 1): ProductShape => {
  return { rows, columns, inputs, layers };
};
const SHAPES = quick
  ? [shape(128, 128, 64, 1)]
  : [
      shape(512, 1152, 1152),
      shape(512, 1152, 1152, 3),
      shape(512, 4608, 1152),
      shape(512, 1152, 4608),
      shape(1024, 1152, 1152),
      shape(2048, 1152, 1152),
      shape(2048, 4608, 1152),
      shape(2048, 1152, 4608),
      shape(4096, 4608, 1152),
      shape(8192, 4608, 1152),
      shape(512, 384, 384),
      shape(512, 1536, 384),
    ];

async function sweep(kind: ProductKind, tiles: readonly TileShape[], shapes: readonly ProductShape[]): Promise<void> {
  log(kind);
  const { maxComputeInvocationsPerWorkgroup: most, maxComputeWorkgroupStorageSize: bytes } = clock.device.limits;
  const fitting = tiles.filter((t) => tileThreads(t) <= most && tileBytes(t) <= bytes);
  const usable = quick ? fitting.slice(-2) : fitting;
  const layers = new Set(shapes.map((s) => s.layers ?? 1));
  await clock.prepare([...layers].flatMap((n) => usable.map((t) => productKernel(kind, n, packed, t))));
  console.log(`compiled by ${(performance.now() / 1000).toFixed(0)} s`);
  for (const s of shapes) {
    const rates: string[] = [];
    for (const t of usable) {
      const { rate, nanoseconds } = await timeProduct(clock, kind, s, packed, t, quick ? 3 : 11);
      rates.push(`${tileName(t)}: ${rate.toFixed(1)} (${(nanoseconds / 1000).toFixed(1)} us)`);
    }
    console.log(`${s.rows} x ${s.columns} x ${s.inputs} x ${s.layers}\n   ${rates.join('\n   ')}`);
  }
}

await sweep('W4A8', CODE_TILES, SHAPES);
log('attention');
const batch = 2;
const [heads, depth] = [16, 72];
const across = 9;
for (const tokens of quick ? [64] : [256, 1024, 4096]) {
  const size = batch * tokens * heads * depth;
  const [q, k, v, out] = [1, 2, 3, 4].map((seed) => clock.random(4 * size, seed));
  const records = clock.random(16 * batch * tokens * heads);
  const words = clock.random(size);
  const products = 2 * batch * heads * tokens * tokens * depth;
  const report = (name: string, ns: number) =>
    console.log(`${tokens} ${name}: ${(products / ns / 1000).toFixed(1)} T/s (${(ns / 1000).toFixed(0)} us)`);
  for (const [down, queries] of [
    [14, 4],
    [8, 4],
    [7, 8],
    [4, 8],
    [14, 2],
  ]) {
    const kernel = floatAttention({ depth, across, down, queries, keys: 4, biased: false });
    const parameters = { tokens, keys: tokens, width: (heads * depth) / 4, scale: 0.1 };
    const groups = [Math.ceil(tokens / (down * queries)), heads, batch] as const;
    report(`float ${down}/${queries}`, await clock.time(kernel, [q, k, v, out], parameters, groups, 5));
  }
  for (const [down, queries, keys] of [
    [8, 8, 8],
    [14, 8, 8],
    [4, 8, 8],
    [8, 4, 8],
    [14, 4, 8],
    [14, 4, 4],
  ]) {
    const kernel = codedAttention({ depth, across, down, queries, keys, biased: false, packed });
    const parameters = { tokens, keys: tokens, heads, keyWords: tokens / 4 };
    const groups = [Math.ceil(tokens / (down * queries)), heads, batch] as const;
    const buffers = [records, words, records, words, records, words, out];
    report(`codes ${down}/${queries}/${keys}`, await clock.time(kernel, buffers, parameters, groups, 5));
  }
}

await sweep('W8A8', CODE_TILES.slice(0, 8), SHAPES.slice(4, 7));
await sweep('fp32', FLOAT_TILES, [shape(1024, 1152, 1152), shape(4096, 4608, 1152)]);
clock.close();
process.exit(0);
