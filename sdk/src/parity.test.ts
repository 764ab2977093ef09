import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { Engine } from '@edge-dit/runtime/engines/engine';
import { openWasmEngine } from '@edge-dit/runtime/engines/open-wasm';
import { ReferenceEngine } from '@edge-dit/runtime/engines/reference';
import { Meter } from '@edge-dit/runtime/meter';
import { createNodeOrtRuntime } from '@edge-dit/runtime/onnx/ort-node';
import { parseSafetensors, toFloat32, toInt32 } from '@edge-dit/runtime/safetensors';
import { sample } from '@edge-dit/runtime/sample';
import { createSampler } from '@edge-dit/runtime/samplers/index';
import { OnnxTextEncoder } from '@edge-dit/runtime/text/onnx-text-encoder';
import { loadTokenizer } from '@edge-dit/runtime/text/tokenizer';
import { compileKernels } from '@edge-dit/wasm-kernels/assemble';
import { type Checkpoint, openCheckpoint } from './checkpoint/checkpoint.ts';
import { psnr } from './evaluate/psnr.ts';
import { loadFloatModel } from './float-model.ts';
import { parity } from './parity.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));
const shared = fileURLToPath(new URL('../../../shared/', import.meta.url));
const kernels = await compileKernels();
const engines: Record<string, () => Promise<Engine>> = {
  reference: async () => new ReferenceEngine(),
  wasm: async () => (await openWasmEngine(kernels, new Meter(2 ** 30))).engine,
};

interface Recorded {
  readonly name: string;
  readonly checkpoint: string;
  readonly io: string;
  /** Largest relative L2 error, by engine. */
  readonly reference: number;
  readonly wasm: number;
  readonly blocks: number;
}

const diffusers = (name: string): Recorded => {
  const folder = `${root}runtime/fixtures/diffusers/${name}`;
  return { name, checkpoint: folder, io: `${folder}/io.safetensors`, reference: 1e-4, wasm: 1e-4, blocks: 0 };
};

const emoji: Recorded = {
  name: 'emoji-pixart',
  checkpoint: `${root}examples/emoji/model`,
  io: `${root}examples/emoji/fixtures/emoji-pixart-forward.safetensors`,
  reference: 1e-5,
  wasm: 1e-4,
  blocks: 8,
};

const cifar: Recorded = {
  name: 'cifar10-dit',
  checkpoint: `${shared}models/cifar10-dit`,
  io: `${shared}fixtures/cifar10-dit-forward.safetensors`,
  reference: 1e-5,
  wasm: 1e-4,
  blocks: 2,
};

const missing = ({ checkpoint }: Recorded) =>
  existsSync(checkpoint) ? false : `${checkpoint} is not there: it is not shipped`;

for (const recorded of [diffusers('dit'), diffusers('pixart-alpha'), diffusers('pixart-microcond'), emoji, cifar]) {
  describe(`${recorded.name} in float`, { skip: missing(recorded) }, () => {
    for (const engine of ['reference', 'wasm'] as const) {
      it(`${engine}: the original's output to ${recorded[engine]}`, async () => {
        const checkpoint = await openCheckpoint(recorded.checkpoint);
        const report = await parity(checkpoint, readFileSync(recorded.io), await engines[engine]());
        await checkpoint.close();
        assert.ok(report.error <= recorded[engine], `relative error ${report.error}`);
        assert.equal(report.blocks.length, recorded.blocks);
        for (const { name, error } of report.blocks) assert.ok(error <= recorded[engine], `${name}: ${error}`);
      });
    }
  });
}

/** Least PSNR of a whole picture against the original implementation's, in dB. */
const LEAST_PSNR = 50;
/** Each takes a quarter of a minute. PARITY_PICTURES=4 compares all that were recorded. */
const PICTURES = Number(process.env.PARITY_PICTURES ?? 2);

async function trajectories(
  checkpointPath: string,
  file: string,
  guidance: number,
  conditionsOf: ConditionsOf,
): Promise<number[]> {
  const checkpoint = await openCheckpoint(checkpointPath);
  const engine = await engines.wasm();
  const { transformer, architecture } = await loadFloatModel(checkpoint, engine);
  const { tensors, metadata } = parseSafetensors(readFileSync(file));
  const [noise, image] = [tensors.get('noise')!, tensors.get('image')!];
  const [count, channels, height, width] = noise.shape;
  const size = channels * height * width;
  const of = (tensor: typeof noise, i: number) => toFloat32(tensor).slice(i * size, (i + 1) * size);
  const out: number[] = [];
  for (let i = 0; i < Math.min(count, PICTURES); i++) {
    const conditions = {
      ...(await conditionsOf(checkpoint, i, { tensors, metadata })),
      batch: 2,
      frames: 1,
      height,
      width,
    };
    const { state } = await sample({
      engine,
      transformer,
      geometry: architecture.geometry,
      sampler: createSampler(checkpoint.schedulerConfig!, 20),
      conditions,
      guidance,
      seed: 0,
      noise: of(noise, i),
    });
    out.push(psnr(state.x, of(image, i)));
  }
  await checkpoint.close();
  return out;
}

type ConditionsOf = (
  checkpoint: Checkpoint,
  index: number,
  file: ReturnType<typeof parseSafetensors>,
) => Promise<object>;

describe('whole pictures in float, 20 steps from recorded noise', () => {
  it('emoji-pixart: prompt, tokenizer, text encoder, Euler on flow', async (t) => {
    const conditions: ConditionsOf = async ({ files }, index, { metadata }) => {
      const encoder = new OnnxTextEncoder({
        runtime: createNodeOrtRuntime(),
        loadModel: async () => new Uint8Array(readFileSync(files.textEncoder!)),
        loadTokenizer: async () => loadTokenizer(JSON.parse(readFileSync(files.tokenizer!, 'utf8'))),
      });
      return { text: await encoder.encode(['', JSON.parse(metadata.prompts)[index]]) };
    };
    const file = `${root}examples/emoji/fixtures/emoji-pixart-trajectory.safetensors`;
    const values = await trajectories(emoji.checkpoint, file, 3, conditions);
    t.diagnostic(`PSNR ${values.map((value) => value.toFixed(1)).join(', ')} dB`);
    assert.ok(Math.min(...values) >= LEAST_PSNR);
  });

  it('cifar10-dit: classes, DDIM', { skip: missing(cifar) }, async (t) => {
    const conditions: ConditionsOf = async (_, index, { tensors }) => ({
      labels: [10, toInt32(tensors.get('class_labels')!)[index]],
    });
    const file = `${shared}fixtures/cifar10-dit-trajectory.safetensors`;
    const values = await trajectories(cifar.checkpoint, file, 1.5, conditions);
    t.diagnostic(`PSNR ${values.map((value) => value.toFixed(1)).join(', ')} dB`);
    assert.ok(Math.min(...values) >= LEAST_PSNR);
  });
});
