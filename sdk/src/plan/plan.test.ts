/** What a plan says against what the runtime's meter says, and what a place refuses. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { isEdgeDitError } from '@edge-dit/runtime/errors';
import { Meter } from '@edge-dit/runtime/meter';
import { Pipeline } from '@edge-dit/runtime/pipeline';
import { FsStore } from '@edge-dit/runtime/stores/fs';
import { MemoryStore } from '@edge-dit/runtime/stores/memory';
import { compileKernels } from '@edge-dit/wasm-kernels/assemble';
import { runCli } from '../cli/testing/run-cli.ts';
import { putModel, randomModel } from '../testing/random-model.ts';
import { planModel } from './plan.ts';
import { planTargetByName } from './targets.ts';

const MIB = 2 ** 20;
const rate = { codes: 50e9, floats: 10e9, hash: 1e9 };
const node = planTargetByName('node');
/** 12 blocks of 0.7 MB. */
const LARGER = {
  num_attention_heads: 8,
  attention_head_dim: 32,
  in_channels: 3,
  out_channels: 3,
  num_layers: 12,
  cross_attention_dim: 256,
  caption_channels: 64,
  sample_size: 32,
  patch_size: 2,
};
const DIT = {
  num_attention_heads: 4,
  attention_head_dim: 32,
  in_channels: 3,
  num_layers: 4,
  sample_size: 16,
  num_embeds_ada_norm: 10,
};

const row = { count: 1, tokens: 8, channels: 64, data: new Float32Array(8 * 64), mask: new Int32Array(8).fill(1) };

const pixart = await randomModel({ model: 'pixart', seed: 1, config: LARGER });
const dit = await randomModel({
  model: 'dit',
  seed: 1,
  architecture: 'DiTTransformer2DModel',
  config: DIT,
  bits: 8,
});

describe('a plan', () => {
  for (const { name, model, asked } of [
    { name: 'PixArt', model: pixart, asked: { width: 32, height: 32, guidance: 3 } },
    { name: 'PixArt of another size', model: pixart, asked: { width: 64, height: 48, guidance: 1 } },
    { name: 'DiT', model: dit, asked: { guidance: 2 } },
  ]) {
    test(`of ${name} says what the meter says`, async () => {
      const plan = await planModel({
        manifest: model.manifest,
        target: node,
        memory: 128 * MIB,
        rate,
        steps: 2,
        ...asked,
      });
      const store = new MemoryStore();
      await putModel(store, model);
      const meter = new Meter();
      const pipeline = await Pipeline.open({
        store,
        model: model.manifest.model,
        kernels: await compileKernels(),
        meter,
      });
      const conditions = model === dit ? { class: 1 } : { embedding: { prompt: row, negative: row } };
      await pipeline.generate({ ...conditions, seed: 1, steps: 2, ...asked });
      // Beside one shard on its way, which is planned, three more are fetched where there is room.
      const ahead = 3 * Math.max(...model.manifest.shards.map(({ length }) => length));
      const [least, most] = [0.95 * plan.memory.peak - MIB / 2, 1.05 * plan.memory.peak + MIB / 2 + ahead];
      assert.ok(least < meter.peak && meter.peak < most, `planned ${plan.memory.peak}, held ${meter.peak}`);
      assert.equal(plan.verdict, 'fits');
      await pipeline.close();
    });
  }

  test('counts every product of the network', async () => {
    const { products } = await planModel({
      manifest: pixart.manifest,
      target: node,
      memory: MIB,
      rate,
      guidance: 1,
      steps: 1,
    });
    const [tokens, width, text] = [16 * 16, 256, 8];
    // Cross-attention's keys and values are made once: they are of the beginning.
    const linears = 12 * tokens * width * width * (4 + 2 + 8);
    const attention = 12 * 2 * width * tokens * (tokens + text);
    assert.equal(products.step.codes, linears + attention);
    assert.equal(products.begin.codes, 12 * 2 * text * width * width);
    const [patch, last] = [2 * 2 * 3, 2 * 2 * 3];
    assert.ok(
      products.step.floats >= tokens * width * (patch + last) &&
        products.step.floats < 1.1 * tokens * width * (patch + last + 8),
    );
  });

  test('of a model larger than memory says which blocks are streamed', async () => {
    const asked = { manifest: pixart.manifest, rate, steps: 4 };
    const whole = await planModel({ ...asked, target: node, memory: 128 * MIB });
    assert.equal(whole.memory.peak, whole.memory.whole);
    const memory = whole.memory.whole - 3 * MIB;
    const plan = await planModel({ ...asked, target: node, memory });
    assert.equal(plan.verdict, 'fits-when-streamed');
    const { stay, streamed, plan: blocks } = plan.blocks!;
    assert.deepEqual([stay + streamed, blocks.stream.length], [12, streamed]);
    assert.ok(plan.memory.peak <= memory);
    assert.equal(plan.bytesRead.eachStep, blocks.readBytes);
    assert.ok(Math.abs(blocks.readBytes / streamed - pixart.manifest.shards[1].length) < 1000);
    assert.equal(plan.requests.warm, 4 * streamed);
    assert.ok(plan.cpuMs.step > whole.cpuMs.step);
    // Calls of the cache are requests as well: what is there is one, what is not is three.
    const worker = await planModel({ ...asked, target: planTargetByName('cloudflare-workers'), memory });
    const { length } = pixart.manifest.shards;
    assert.equal(worker.requests.cold, 1 + 3 * (1 + length) + 3 * streamed);
    assert.equal(worker.requests.uncached, 1 + 3 * (1 + length) + 9 * streamed);
    const none = await planModel({ ...asked, target: node, memory: MIB });
    assert.equal(none.verdict, 'does-not-fit');
    assert.equal(none.blocks, undefined);
    assert.match(none.problems.join(), /are needed even with one block at a time/);
  });

  for (const [name, model, conditions] of [
    ['PixArt', pixart, { embedding: { prompt: row, negative: row } }],
    ['DiT', dit, { class: 1 }],
  ] as const) {
    test(`says the least memory in which ${name} runs`, async () => {
      const { memory } = await planModel({ manifest: model.manifest, target: node, memory: MIB, rate, steps: 1 });
      const store = new MemoryStore();
      await putModel(store, model);
      const kernels = await compileKernels();
      const run = async (budget: number) => {
        const pipeline = await Pipeline.open({ store, model: name.toLowerCase(), kernels, meter: new Meter(budget) });
        await pipeline.generate({ ...conditions, seed: 1, steps: 1 }).finally(() => pipeline.close());
      };
      await run(memory.least);
      await assert.rejects(run(0.95 * memory.least), (error) => isEdgeDitError(error, 'memory-exceeded'));
    });
  }

  test('knows what a place permits and what it costs', async () => {
    const plan = (target: string, more: object = {}) =>
      planModel({ manifest: pixart.manifest, target: planTargetByName(target), memory: 128 * MIB, rate, ...more });
    const paid = await plan('cloudflare-workers', { steps: 20 });
    assert.equal(paid.verdict, 'fits');
    assert.ok(Math.abs(paid.price!.total - (0.3 + 0.02 * paid.cpuMs.picture)) < 1e-9);
    assert.match(paid.price!.read, /^20\d\d-\d\d$/);
    const free = await plan('cloudflare-workers-free', { steps: 20 });
    assert.equal(free.verdict, 'does-not-fit');
    assert.match(free.problems.join(), /ms of CPU, cloudflare-workers-free permits 10/);
    const slow = await plan('cloudflare-workers', { steps: 200, rate: { codes: 6e9, floats: 1e9, hash: 1e9 } });
    assert.equal(slow.verdict, 'fits');
    assert.match(slow.notes.join(), /need a higher limit than the usual 30000/);
    const large = await plan('cloudflare-workers', { memory: 256 * MIB });
    assert.match(large.problems.join(), /has 128.0 MiB of memory at most/);
    const [half, full] = [await plan('lambda', { memory: 884.5 * MIB }), await plan('lambda', { memory: 1769 * MIB })];
    // Half of the memory is half of a processor for twice as long.
    assert.ok(Math.abs(half.price!.compute - full.price!.compute) < 1e-6);
    assert.equal((await plan('node')).price, undefined);
    assert.throws(
      () => planTargetByName('cloudflare-worker'),
      (error) => isEdgeDitError(error, 'unknown-name'),
    );
  });
});

describe('edge-dit plan', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'edge-dit-plan-'));
  after(() => rm(folder, { recursive: true }));
  await putModel(new FsStore(join(folder, 'models')), pixart);
  const plan = (...more: string[]) =>
    runCli(['plan', './models/pixart', '--target', 'cloudflare-workers', ...more], folder);

  test('prints parts and verdict, and tells the shell', async () => {
    const { code, stdout } = await plan('--memory', '128MB', '--rate', '50');
    assert.equal(code, 0);
    assert.match(stdout, /weights of 12 blocks .*[\d,]+/);
    assert.match(stdout, /verdict +it fits/);
    assert.match(stdout, /list prices of 20\d\d-\d\d/);
    const small = await plan('--memory', '8MB', '--rate', '50');
    assert.equal(small.code, 1);
    assert.match(small.stdout, /IT DOES NOT FIT/);
    assert.equal((await plan('--memory', 'much')).code, 2);
  });

  test('prints JSON, with a rate that was measured', async () => {
    const { code, stdout } = await plan('--json');
    assert.equal(code, 0);
    const found = JSON.parse(stdout);
    assert.equal(found.verdict, 'fits');
    assert.equal(found.digest, pixart.digest);
    assert.match(found.rate.source, /measured here, wasm-/);
    assert.ok(found.rate.codes > 1e8 && found.cpuMs.picture > 0);
  });
});
