/**
 * Times the GPU kernels of this machine in many shapes of tiles, and prints tables: what engines/webgpu/tiles.ts chooses
 * from. Needs a GPU with `timestamp-query`; `--quick` takes small products, for a look at whether all runs.
 */
import { codedAttention, codedAttentionBytes } from '@edge-dit/runtime/engines/webgpu/attention-codes';
import { floatAttention, floatAttentionBytes } from '@edge-dit/runtime/engines/webgpu/attention-float';
import { type TileShape, tileBytes, tileThreads } from '@edge-dit/runtime/engines/webgpu/gemm-tile';
import { nodeGpu } from '@edge-dit/runtime/testing/node-gpu';
import { timeAttentionProducts } from '@edge-dit/sdk/bench/webgpu/attention-products';
import { busyWork, measureCeilings, measureFloor } from '@edge-dit/sdk/bench/webgpu/ceilings';
import { openClock } from '@edge-dit/sdk/bench/webgpu/dispatch-clock';
import {
  COPIES,
  codesWork,
  type ProductKind,
  type ProductShape,
  tileName,
  tileOf,
  timeProducts,
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
  clock.busy = busyWork(clock, 200);
  log('ceilings');
  console.log(JSON.stringify(await measureCeilings(clock, packed, half)));
  console.log(JSON.stringify(await measureFloor(clock, COPIES)));
}

const CODE_TILES = [
  tileOf(32, 64, 4, 4, 16),
  tileOf(32, 64, 4, 4, 16, { buffers: 1 }),
  tileOf(32, 64, 4, 4, 32, { buffers: 1 }),
  tileOf(64, 64, 4, 4, 16, { buffers: 1 }),
  tileOf(64, 64, 4, 4, 32, { buffers: 1 }),
  tileOf(64, 64, 8, 4, 16, { buffers: 1 }),
  tileOf(64, 128, 8, 4, 16, { buffers: 1 }),
  tileOf(64, 128, 8, 8, 16, { buffers: 1 }),
  tileOf(128, 128, 8, 8, 16, { buffers: 1 }),
];
/** Of products so small that no GPU is busy with them. */
const SMALL_TILES = [
  tileOf(32, 64, 4, 4, 16),
  tileOf(32, 64, 4, 4, 16, { buffers: 1 }),
  tileOf(32, 64, 4, 4, 32, { buffers: 1 }),
  tileOf(32, 64, 4, 4, 48, { buffers: 1 }),
  tileOf(32, 32, 4, 4, 16, { buffers: 1 }),
  tileOf(32, 32, 4, 4, 32, { buffers: 1 }),
  tileOf(64, 64, 4, 4, 16, { buffers: 1 }),
  tileOf(64, 64, 4, 4, 32, { buffers: 1 }),
  tileOf(64, 64, 4, 4, 48, { buffers: 1 }),
  tileOf(64, 64, 8, 4, 32, { buffers: 1 }),
  tileOf(64, 32, 4, 4, 16, { buffers: 1 }),
  tileOf(16, 64, 4, 4, 32, { buffers: 1 }),
  tileOf(32, 32, 4, 4, 16, { teams: 2, buffers: 1 }),
  tileOf(32, 32, 4, 4, 32, { teams: 2, buffers: 1 }),
  tileOf(32, 32, 4, 4, 48, { teams: 2, buffers: 1 }),
  tileOf(32, 32, 4, 4, 96, { teams: 2, buffers: 1 }),
  tileOf(32, 32, 4, 4, 48, { teams: 4, buffers: 1 }),
  tileOf(32, 32, 4, 4, 96, { teams: 4, buffers: 1 }),
  tileOf(32, 64, 4, 4, 16, { teams: 2, buffers: 1 }),
  tileOf(32, 64, 4, 4, 32, { teams: 2, buffers: 1 }),
  tileOf(32, 64, 4, 4, 48, { teams: 2, buffers: 1 }),
  tileOf(16, 64, 4, 4, 48, { teams: 2, buffers: 1 }),
  tileOf(64, 64, 8, 4, 32, { teams: 2, buffers: 1 }),
];
const FLOAT_TILES = [
  tileOf(128, 128, 8, 8, 16),
  tileOf(128, 128, 8, 8, 16, { buffers: 1 }),
  tileOf(128, 128, 8, 8, 32, { buffers: 1 }),
  tileOf(64, 128, 8, 8, 16, { buffers: 1 }),
  tileOf(64, 64, 8, 4, 16, { buffers: 1 }),
  tileOf(64, 64, 4, 4, 16),
  tileOf(64, 64, 4, 4, 16, { buffers: 1 }),
  tileOf(64, 64, 8, 8, 16, { buffers: 1 }),
  tileOf(32, 64, 4, 4, 16, { buffers: 1 }),
  tileOf(32, 32, 4, 4, 16),
  tileOf(32, 32, 4, 4, 16, { buffers: 1 }),
  tileOf(32, 32, 4, 4, 32, { teams: 2, buffers: 1 }),
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
  shape(2048, 4608, 1152),
  shape(4096, 384, 1536),
  shape(4096, 1152, 4608),
];
const SMALL = [
  shape(256, 384, 384),
  shape(256, 1536, 384),
  shape(256, 384, 1536),
  shape(512, 384, 384, 3),
  shape(1024, 384, 384),
  shape(1024, 1536, 384),
  shape(1024, 384, 1536),
  shape(4096, 384, 384),
  shape(512, 1152, 1152),
];

async function sweep(kind: ProductKind, tiles: readonly TileShape[], shapes: readonly ProductShape[]): Promise<void> {
  log(kind);
  const { maxComputeInvocationsPerWorkgroup: most, maxComputeWorkgroupStorageSize: bytes } = clock.device.limits;
  const fitting = tiles.filter((t) => tileThreads(t) <= most && tileBytes(t) <= bytes);
  const dividing = (t: TileShape, inputs: number) => (inputs / 4) % t.depth === 0 || kind.startsWith('fp');
  for (const s of quick ? [shape(128, 128, 128)] : shapes) {
    const used = fitting.filter((tile) => dividing(tile, s.inputs));
    const candidates = (quick ? used.slice(-2) : used).map((tile) => ({ kind, tile }));
    const figures = await timeProducts(clock, s, packed, candidates, quick ? { rounds: 1, ceilings: false } : {});
    const said = ({ rate, nanoseconds }: { rate: number; nanoseconds: number }) =>
      `${rate.toFixed(1)} (${(nanoseconds / 1000).toFixed(1)} us)`;
    const lines = figures.map((figure) => `${figure.tile}: ${said(figure)}, in a row ${said(figure.inRow!)}`);
    const ceiling = figures[0].ceiling?.toFixed(1);
    console.log(`${s.rows} x ${s.columns} x ${s.inputs} x ${s.layers}, ceiling ${ceiling}\n   ${lines.join('\n   ')}`);
  }
}

/** Tiles of codes give the same bits. */
async function check(): Promise<void> {
  log('check');
  const s = shape(quick ? 64 : 256, 384, 384);
  const { maxComputeInvocationsPerWorkgroup: most, maxComputeWorkgroupStorageSize: bytes } = clock.device.limits;
  for (const kind of ['W4A8', 'W8A8'] as const) {
    let first: Uint32Array | undefined;
    for (const tile of [...SMALL_TILES, ...CODE_TILES]) {
      if (tileThreads(tile) > most || tileBytes(tile) > bytes || (s.inputs / 4) % tile.depth !== 0) continue;
      const mark = clock.mark;
      const work = codesWork(clock, kind, s, packed, tile);
      const got = new Uint32Array(await clock.outputOf(work, work.buffers.at(-1)!));
      clock.clear(mark);
      first ??= got;
      const other = got.findIndex((word, i) => word !== first![i]);
      if (other >= 0) console.log(`${kind} ${tileName(tile)} differs at ${other}: ${got[other]}, ${first[other]}`);
    }
    console.log(kind, first!.slice(0, 4).join(' '));
  }
}

type Attention = Parameters<typeof floatAttentionBytes>[0];
const attentionOf = (across: number, down: number, queries: number, keys: number, afar = false) => {
  return { across, down, queries, keys, afar };
};
type Shape = ReturnType<typeof attentionOf>;

async function attention(depth: number, tokens: number, floats: readonly Shape[], codes: readonly Shape[]) {
  const [batch, heads] = [2, 16];
  const mark = clock.mark;
  const size = batch * tokens * heads * depth;
  const [q, k, v, out] = [1, 2, 3, 4].map((seed) => clock.random(4 * size, seed));
  const records = clock.random(16 * batch * tokens * heads);
  const words = clock.random(size);
  const { maxComputeInvocationsPerWorkgroup: most, maxComputeWorkgroupStorageSize: bytes } = clock.device.limits;
  const fits = (shape: Shape, bytesOf: (shape: Attention) => number) =>
    shape.across * shape.down <= most && bytesOf({ depth, ...shape }) <= bytes;
  const groups = ({ down, queries }: Shape) => [Math.ceil(tokens / (down * queries)), heads, batch] as const;
  const works = [
    ...floats
      .filter((shape) => fits(shape, floatAttentionBytes))
      .map((shape) => ({
        kernel: floatAttention({ depth, ...shape, biased: false }),
        buffers: [q, k, v, out],
        parameters: { tokens, keys: tokens, width: (heads * depth) / 4, scale: 0.1 },
        groups: groups(shape),
      })),
    ...codes
      .filter((shape) => fits(shape, codedAttentionBytes))
      .map(({ afar: _, ...shape }) => ({
        kernel: codedAttention({ depth, ...shape, biased: false, packed }),
        buffers: [records, words, records, words, records, words, out],
        parameters: { tokens, keys: tokens, heads, keyWords: tokens / 4 },
        groups: groups({ ...shape, afar: false }),
      })),
  ];
  await clock.prepare(works.map(({ kernel }) => kernel));
  const times = await clock.time(works, quick ? 1 : 5);
  const products = 2 * batch * heads * tokens * tokens * depth;
  let first: Float32Array | undefined;
  for (const [i, work] of works.entries()) {
    const rate = (products / times[i] / 1000).toFixed(1);
    const got = new Float32Array(await clock.outputOf(work, out));
    // Codes are exact, floats add up in another order.
    if (i === 0 || works[i - 1].buffers.length !== work.buffers.length) first = got;
    const worst = got.reduce((most, value, at) => Math.max(most, Math.abs(value - first![at])), 0);
    const { name } = work.kernel;
    console.log(`${tokens} tokens, ${name}: ${rate} T/s (${(times[i] / 1000).toFixed(0)} us), off by ${worst}`);
  }
  clock.clear(mark);
}

log('attention');
for (const tokens of quick ? [64] : [256, 1024, 4096]) {
  await attention(
    72,
    tokens,
    [
      attentionOf(6, 16, 4, 8),
      attentionOf(6, 32, 2, 8),
      attentionOf(6, 16, 4, 4, true),
      attentionOf(6, 21, 4, 4, true),
      attentionOf(6, 10, 4, 4, true),
      attentionOf(6, 10, 6, 4, true),
      attentionOf(6, 16, 6, 4, true),
      attentionOf(6, 21, 6, 4, true),
      attentionOf(6, 32, 4, 4, true),
      attentionOf(6, 32, 6, 4, true),
      attentionOf(6, 42, 4, 4, true),
      attentionOf(6, 16, 5, 4, true),
      attentionOf(6, 21, 5, 4, true),
      attentionOf(6, 26, 5, 4, true),
      attentionOf(3, 32, 4, 8, true),
      attentionOf(3, 32, 4, 4, true),
      attentionOf(3, 42, 4, 8, true),
      attentionOf(3, 21, 4, 8, true),
      attentionOf(6, 32, 2, 4, true),
      attentionOf(6, 16, 4, 4),
      attentionOf(6, 8, 4, 4),
    ],
    [
      attentionOf(9, 14, 4, 4),
      attentionOf(6, 8, 4, 4),
      attentionOf(6, 10, 4, 4),
      attentionOf(6, 16, 4, 4),
      attentionOf(6, 21, 4, 4),
      attentionOf(6, 32, 4, 4),
      attentionOf(3, 32, 4, 4),
      attentionOf(3, 32, 4, 8),
      attentionOf(18, 7, 4, 4),
    ],
  );
}
for (const tokens of quick ? [] : [256, 1024]) {
  await attention(
    64,
    tokens,
    [
      attentionOf(8, 16, 4, 4),
      attentionOf(8, 16, 2, 4),
      attentionOf(8, 16, 4, 4, true),
      attentionOf(8, 16, 6, 4, true),
      attentionOf(8, 16, 4, 8, true),
      attentionOf(8, 8, 4, 4, true),
      attentionOf(4, 32, 4, 4, true),
      attentionOf(4, 32, 4, 8, true),
      attentionOf(4, 16, 4, 8, true),
      attentionOf(4, 32, 2, 8, true),
    ],
    [attentionOf(8, 16, 4, 4), attentionOf(8, 8, 4, 4), attentionOf(4, 16, 4, 4), attentionOf(4, 32, 4, 4)],
  );
}
log('products of attention');
for (const precision of ['float', 'int8'] as const) {
  for (const [tokens, keys] of quick
    ? [[64, 64]]
    : [
        [256, 256],
        [1024, 1024],
        [4096, 4096],
        [4096, 120],
      ]) {
    const made = { precision, heads: 32, tokens, keys, depth: 72 };
    console.log(JSON.stringify(await timeAttentionProducts(clock, made, packed, quick ? 1 : undefined)));
  }
}
await check();
await sweep('W4A8', SMALL_TILES, SMALL);
await sweep('W8A8', SMALL_TILES, SMALL);
await sweep('W8A8', CODE_TILES, LARGE);
await sweep('W4A8', CODE_TILES, LARGE.slice(0, 4));
await sweep('fp32', FLOAT_TILES, [
  shape(256, 384, 384),
  shape(1024, 384, 384),
  shape(1024, 1152, 1152),
  shape(4096, 4608, 1152),
]);
clock.close();
process.exit(0);
