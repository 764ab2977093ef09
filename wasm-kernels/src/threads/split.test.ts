/** Every kernel of the table: a call and its chunks, in any order and with any scratch, leave the same memory behind. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compileKernels } from '../assemble.ts';
import { instantiateKernels, type KernelExports, linearScratchBytes, supportedVariants } from '../load.ts';
import { MAX_CHUNKS } from './control.ts';
import { type KernelName, SPLITS, split } from './split.ts';

const BYTES = 2 ** 23;
const OTHER_SCRATCH = 256;
const SCRATCH_BYTES = 2 ** 20;
const FIRST = OTHER_SCRATCH + SCRATCH_BYTES;
const modules = await compileKernels();

/** Addresses one after another. */
function allocator() {
  let top = FIRST;
  return (bytes: number) => {
    const at = top;
    top += (bytes + 255) & ~63;
    assert.ok(top <= BYTES);
    return at;
  };
}

type Take = (bytes: number) => number;
type Shape = readonly [rows: number, cols: number, more: number];
const quantizeRows = (take: Take, [m, k]: Shape, pad = 8) => [
  ...[m, k, take(4 * m * (k + pad)), 4 * (k + pad)],
  ...[take(4 * k), take(4 * k), take(m * k), take(16 * m), 255],
];
const linear =
  (bits: number, grouped: boolean) =>
  (take: Take, [m, k, n]: Shape) => [
    ...[m, n, k / 4, take((m + 8) * k), take(16 * m), take(((n + 7) >> 3) * k * bits), take(128 * ((n + 7) >> 3))],
    ...[take(4 * m * (n + 3)), 4 * (n + 3), take(linearScratchBytes(m, k / 4)), bits],
    ...(grouped ? [1, take(4 * k * ((n + 7) >> 3)), 4 * k] : [k / 4, 0, 0]),
  ];

/** Arguments of a call for a shape; `more` is outputs, or rows that share a vector, or keys. */
const CALLS: { readonly [name in KernelName]?: (take: Take, shape: Shape) => number[] } = {
  linear_u8: linear(8, false),
  linear_u7: linear(5, true),
  gemm_f32: (take, [m, k, n]) => [
    ...[m, n, k, take(4 * (m + 6) * k), 4 * k, take(4 * k * (n + 8)), 32 * k, 32],
    ...[m % 2 ? 0 : take(4 * (n + 8)), take(4 * m * n), 4 * n, take(64)],
  ],
  norm_modulate: (take, [m, k, every]) => [
    ...[m, k, take(4 * m * k), take(8 * m * k), take(8 * m * k), every, 8 * k, 1e-6, take(4 * m * k)],
  ],
  norm_modulate_quantize: (take, [m, k, every]) => [
    ...[m, k, take(4 * m * k), take(8 * m * k), take(8 * m * k), every, 8 * k, 1e-6],
    ...[take(4 * k), take(4 * k), take(m * k), take(16 * m), 31],
  ],
  gelu: (take, [m, k]) => [m, k, take(4 * m * k), take(4 * m * k)],
  silu: (take, [m, k]) => [m, k, take(4 * m * k), take(4 * m * k)],
  quantize: quantizeRows,
  gelu_quantize: quantizeRows,
  rotate_rows: (take, [m]) => [
    ...[m, 12, 4, take(4 * m * 48), take(4 * 48), take(4 * 144), take(4 * 48), take(4 * m * 48)],
  ],
  gated_add: (take, [m, k, every]) => [m, k, take(4 * m * k), take(4 * m * k), every, 4 * k, take(4 * m * k)],
  add_rows: (take, [m, k, every]) => [m, k, take(4 * m * k), take(4 * every * k), every, take(4 * m * k)],
  softmax_block: (take, [m, k]) => [m, k, take(4 * m * k), take(4 * k), 0.125, take(16 * m), 1],
  add_block: (take, [m, k]) => [m, k, take(4 * m * k), take(16 * m), take(4 * m * (k + 4)), 4 * (k + 4)],
  softmax_quantize: (take, [m, k]) => [m, k, take(4 * m * (k + 4)), 4 * (k + 4), take(m * k), take(16 * m)],
  quantize_keys: (take, [keys, depth]) => [
    ...[keys, depth, take(4 * keys * (depth + 4)), 4 * (depth + 4), 0.125, take(4 * (keys + 8)), 128],
    ...[take((keys + 8) * depth), take(16 * (keys + 8))],
  ],
  quantize_values: (take, [keys, depth]) => [
    ...[keys, depth, take(4 * keys * (depth + 4)), 4 * (depth + 4), 128],
    ...[take((keys + 4) * (depth + 8)), take(16 * (depth + 8))],
  ],
  transpose_panels: (take, [m, k]) => [m, k, take(4 * m * (k + 1)), 4 * (k + 1), take(4 * (m + 8) * k)],
};

const SHAPES: readonly Shape[] = [
  [96, 64, 72],
  [37, 20, 33],
  [48, 36, 12],
  [12, 100, 4],
  [60, 16, 5],
  [2, 64, 150],
  [1, 8, 1],
];

for (const variant of supportedVariants()) {
  const memory = new WebAssembly.Memory({ initial: BYTES / 65536 });
  const kernels = instantiateKernels(modules.float, modules[variant]!, memory, variant);
  const initial = Float32Array.from({ length: BYTES / 4 }, (_, i) => (((i * 2654435761) >>> 0) / 2 ** 31 - 1) * 3);
  const memoryAfter = (calls: readonly (readonly number[])[], name: KernelName, args: readonly number[]) => {
    new Float32Array(memory.buffer).set(initial);
    if (name.startsWith('linear')) setGates(args);
    for (const args of calls) (kernels[name] as (...args: readonly number[]) => void)(...args);
    return memory.buffer.slice(FIRST);
  };

  /** Every third row is written, the others are added to, times what lies where the activations are. */
  const setGates = ([m, , , activations, records, , , out, outStride]: readonly number[]) => {
    const words = new Int32Array(memory.buffer, records, 4 * m);
    for (let i = 0; i < m; i++) words[4 * i + 3] = i % 3 === 0 ? 0 : activations - (out + i * outStride);
  };

  test(`${variant}: chunks of a call give the bits of the call`, () => {
    for (const name of Object.keys(SPLITS) as KernelName[]) {
      const how = SPLITS[name]!;
      let divided = 0;
      for (const shape of SHAPES) {
        for (const threads of [2, 3, 16]) {
          const args = CALLS[name]!(allocator(), shape);
          const chunks = split(how, args, { threads, scratchBytes: SCRATCH_BYTES, leastCost: 0.5 });
          if (chunks === undefined) continue;
          divided++;
          assert.ok(chunks.length <= MAX_CHUNKS, `${name} ${shape}: ${chunks.length} chunks`);
          const scratch = how.scratch?.index;
          const own = scratch === undefined ? undefined : args[scratch];
          // As threads would: backwards, the scratch now this one's and now that one's.
          const calls = chunks.reverse().map((chunk, i) => {
            if (scratch !== undefined && i % 2 === 0) chunk[scratch] = OTHER_SCRATCH;
            return chunk;
          });
          const [got, expected] = [calls, [args]].map((list) => {
            const after = new Uint8Array(memoryAfter(list, name, args));
            // What scratch holds afterwards is nobody's affair.
            if (own !== undefined) after.fill(0, own - FIRST, own - FIRST + how.scratch!.bytes(args));
            return after;
          });
          assert.equal(Buffer.compare(got, expected), 0, `${name} ${shape} in ${chunks.length} chunks`);
        }
      }
      assert.ok(divided > 3, `${name} was divided ${divided} times`);
    }
  });
}

test('what the table names exists, and what does not pay is left to one thread', () => {
  for (const name of Object.keys(SPLITS)) assert.ok(CALLS[name as keyof KernelExports], `no call of ${name} here`);
  const args = [4, 8, 0, 0];
  const options = { threads: 2, scratchBytes: 1 << 20 };
  assert.equal(split(SPLITS.gelu!, args, { ...options, leastCost: 4000 }), undefined);
  assert.ok(split(SPLITS.gelu!, args, { ...options, leastCost: 1 }));
  const wide = [192, 384, 96, 0, 0, 0, 0, 0, 1536, 0, 4, 96, 0, 0];
  assert.ok(split(SPLITS.linear_u7!, wide, { ...options, leastCost: 4000 }));
  assert.equal(split(SPLITS.linear_u7!, wide, { threads: 2, scratchBytes: 1000, leastCost: 4000 }), undefined);
});
