/**
 * Times the GPU kernels of this machine in many shapes of tiles, and prints tables: what engines/webgpu/tiles.ts chooses
 * from. Needs a GPU with `timestamp-query`; `--quick` takes small products, for a look at whether all runs.
 */
import { codedAttention } from '@edge-dit/runtime/engines/webgpu/attention-codes';
import { floatAttention, floatAttentionBytes } from '@edge-dit/runtime/engines/webgpu/attention-float';
import { type TileShape, tileBytes, tileThreads } from '@edge-dit/runtime/engines/webgpu/gemm-tile';
import { nodeGpu } from '@edge-dit/runtime/testing/node-gpu';
import { busyWork, measureCeilings } from '@edge-dit/sdk/bench/webgpu/ceilings';
import { openClock } from '@edge-dit/sdk/bench/webgpu/dispatch-clock';
import { type ProductKind, type ProductShape, tileOf, timeProducts } from '@edge-dit/sdk/bench/webgpu/products';

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
  clock.busy = busyWork(clock, 200);
  log('ceilings');
  console.log(JSON.stringify(await measureCeilings(clock, packed, half)));
}

const CODE_TILES = [
  tileOf(128, 128, 8, 8, 16),
  tileOf(64, 128, 8, 8, 16),
  tileOf(64, 128, 4, 8, 16),
  tileOf(64, 64, 8, 4, 16),
  tileOf(64, 64, 4, 4, 16),
  tileOf(32, 64, 4, 4, 16),
  tileOf(32, 32, 4, 4, 16),
];
/** Of products so small that no GPU is busy with them. */
const SMALL_TILES = [
  tileOf(32, 64, 4, 4, 16),
  tileOf(32, 32, 4, 4, 8),
  tileOf(32, 32, 4, 4, 16),
  tileOf(32, 32, 4, 4, 32),
  tileOf(16, 32, 4, 4, 16),
  tileOf(16, 32, 4, 4, 32),
  tileOf(16, 16, 4, 4, 32),
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
const LARGE = [
  shape(512, 1152, 1152, 3),
  shape(512, 4608, 1152),
  shape(512, 1152, 4608),
  shape(1024, 1152, 1152),
  shape(2048, 1152, 1152),
  shape(2048, 1152, 1152, 3),
  shape(2048, 4608, 1152),
  shape(2048, 1152, 4608),
  shape(4096, 4608, 1152),
  shape(4096, 1152, 4608),
];
const SMALL = [
  shape(256, 384, 384),
  shape(512, 384, 384),
  shape(512, 384, 384, 3),
  shape(512, 1536, 384),
  shape(512, 384, 1536),
  shape(1024, 384, 384),
  shape(512, 1152, 1152),
];

async function sweep(kind: ProductKind, tiles: readonly TileShape[], shapes: readonly ProductShape[]): Promise<void> {
  log(kind);
  const { maxComputeInvocationsPerWorkgroup: most, maxComputeWorkgroupStorageSize: bytes } = clock.device.limits;
  const fitting = tiles.filter((t) => tileThreads(t) <= most && tileBytes(t) <= bytes);
  const candidates = (quick ? fitting.slice(-2) : fitting).map((tile) => ({ kind, tile }));
  for (const s of quick ? [shape(128, 128, 128)] : shapes) {
    const figures = await timeProducts(clock, s, packed, candidates);
    const lines = figures.map(
      ({ tile, rate, nanoseconds }) => `${tile}: ${rate.toFixed(1)} (${(nanoseconds / 1000).toFixed(1)} us)`,
    );
    const ceiling = figures[0].ceiling?.toFixed(1);
    console.log(`${s.rows} x ${s.columns} x ${s.inputs} x ${s.layers}, ceiling ${ceiling}\n   ${lines.join('\n   ')}`);
  }
}

/** [across, down, queries, keys] */
type Attention = readonly [number, number, number, number];

async function attention(depth: number, tokens: number, floats: readonly Attention[], codes: readonly Attention[]) {
  const [batch, heads] = [2, 16];
  const mark = clock.mark;
  const size = batch * tokens * heads * depth;
  const [q, k, v, out] = [1, 2, 3, 4].map((seed) => clock.random(4 * size, seed));
  const records = clock.random(16 * batch * tokens * heads);
  const words = clock.random(size);
  const { maxComputeInvocationsPerWorkgroup: most, maxComputeWorkgroupStorageSize: bytes } = clock.device.limits;
  const fits = ([across, down, queries, keys]: Attention) =>
    across * down <= most && floatAttentionBytes({ depth, across, down, queries, keys }) <= bytes;
  const groups = (down: number, queries: number) => [Math.ceil(tokens / (down * queries)), heads, batch] as const;
  const works = [
    ...floats.filter(fits).map(([across, down, queries, keys]) => ({
      kernel: floatAttention({ depth, across, down, queries, keys, biased: false }),
      buffers: [q, k, v, out],
      parameters: { tokens, keys: tokens, width: (heads * depth) / 4, scale: 0.1 },
      groups: groups(down, queries),
    })),
    ...codes.map(([across, down, queries, keys]) => ({
      kernel: codedAttention({ depth, across, down, queries, keys, biased: false, packed }),
      buffers: [records, words, records, words, records, words, out],
      parameters: { tokens, keys: tokens, heads, keyWords: tokens / 4 },
      groups: groups(down, queries),
    })),
  ];
  await clock.prepare(works.map(({ kernel }) => kernel));
  const times = await clock.time(works, 5);
  clock.clear(mark);
  const products = 2 * batch * heads * tokens * tokens * depth;
  for (const [i, { kernel }] of works.entries()) {
    const rate = (products / times[i] / 1000).toFixed(1);
    console.log(`${tokens} tokens, ${kernel.name}: ${rate} T/s (${(times[i] / 1000).toFixed(0)} us)`);
  }
}

log('attention');
for (const tokens of quick ? [64] : [256, 1024, 4096]) {
  await attention(
    72,
    tokens,
    [
      [6, 16, 4, 8],
      [6, 20, 4, 4],
      [6, 20, 3, 8],
      [6, 21, 2, 8],
      [6, 32, 2, 8],
      [6, 21, 2, 4],
      [9, 14, 4, 4],
    ],
    [
      [9, 14, 4, 4],
      [9, 7, 4, 4],
    ],
  );
}
for (const tokens of quick ? [] : [256, 1024]) {
  await attention(
    64,
    tokens,
    [
      [8, 16, 4, 4],
      [8, 8, 4, 8],
      [8, 16, 2, 8],
      [8, 16, 2, 4],
      [8, 16, 1, 4],
      [4, 16, 2, 4],
    ],
    [
      [8, 16, 4, 4],
      [8, 8, 4, 4],
    ],
  );
}
await sweep('W8A8', CODE_TILES, LARGE);
await sweep('W4A8', SMALL_TILES, SMALL);
await sweep('W4A8', CODE_TILES, LARGE);
await sweep('fp32', FLOAT_TILES, [shape(1024, 1152, 1152), shape(4096, 4608, 1152)]);
clock.close();
process.exit(0);
