import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { ReferenceEngine } from '@edge-dit/runtime/engines/reference';
import { isEdgeDitError } from '@edge-dit/runtime/errors';
import { checkpointLayout } from '@edge-dit/runtime/models/checkpoint-layouts';
import type { OnnxTensor } from '@edge-dit/runtime/onnx/onnx-runtime';
import { createNodeOrtRuntime } from '@edge-dit/runtime/onnx/ort-node';
import { parseSafetensors, type SafetensorsEntry, toFloat32, toInt32 } from '@edge-dit/runtime/safetensors';
import { type Checkpoint, openCheckpoint } from '../checkpoint/checkpoint.ts';
import { loadFloatModel } from '../float-model.ts';
import { relativeError } from '../parity.ts';
import { exportOnnx } from './export-onnx.ts';
import type { ExportShape } from './exporter.ts';
import { GraphBuilder } from './graph-builder.ts';
import { exporters } from './index.ts';
import { linearFormByName, linearForms } from './linear-forms.ts';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const shared = fileURLToPath(new URL('../../../../shared/', import.meta.url));
const runtime = createNodeOrtRuntime();

/** Largest relative L2 error of the output. int8 has one scale for all tokens; the tiny networks have random weights. */
const BUDGETS: Readonly<Record<string, number>> = { fp32: 1e-4, 'int8-dynamic': 5e-2, int4: 2e-1 };

type Feeds = Readonly<Record<string, OnnxTensor>>;

const floats = (data: Float32Array, dims: readonly number[]): OnnxTensor => ({ type: 'float32', dims, data });
const integers = (data: ArrayLike<number>, dims: readonly number[]): OnnxTensor => {
  return { type: 'int64', dims, data: BigInt64Array.from(data, BigInt) };
};

async function run(checkpoint: Checkpoint, form: string, feeds: Feeds, shape: Partial<ExportShape>) {
  const { bytes, inputs } = await exportOnnx({ checkpoint, form: linearFormByName(form), shape });
  const session = await runtime.load(bytes, `${checkpoint.architecture} in ${form}`);
  assert.deepEqual(session.inputs, Object.keys(feeds));
  assert.deepEqual(
    inputs.map(({ type, dims }) => ({ type, dims })),
    Object.values(feeds).map(({ type, dims }) => ({ type, dims })),
  );
  assert.deepEqual(session.outputs, ['out_sample']);
  const { out_sample: output } = await session.run(feeds);
  await session.release();
  return { output: output.data as Float32Array, dims: output.dims };
}

interface Recorded {
  readonly name: string;
  readonly checkpoint: string;
  readonly io: string;
}

const diffusers = (name: string): Recorded => {
  const folder = `${root}runtime/fixtures/diffusers/${name}`;
  return { name, checkpoint: folder, io: `${folder}/io.safetensors` };
};
const emoji: Recorded = {
  name: 'emoji-pixart',
  checkpoint: `${root}examples/emoji/model`,
  io: `${root}examples/emoji/fixtures/emoji-pixart-forward.safetensors`,
};
const cifar: Recorded = {
  name: 'cifar10-dit',
  checkpoint: `${shared}models/cifar10-dit`,
  io: `${shared}fixtures/cifar10-dit-forward.safetensors`,
};
const recordings = [diffusers('dit'), diffusers('pixart-alpha'), diffusers('pixart-microcond'), emoji, cifar];

/** The file's inputs under the names of the graph, in its order. */
function readRecording(io: string) {
  const { tensors } = parseSafetensors(readFileSync(io));
  const find = (...names: string[]) => names.map((name) => tensors.get(name)).find((tensor) => tensor !== undefined);
  const sample = find('in.sample', 'in.hidden_states')!;
  const context = find('in.encoder_hidden_states', 'mid.encoder_hidden_states');
  const [batch, , height, width] = sample.shape;
  const tokens = context?.shape[1];
  const given = {
    sample,
    timestep: find('in.timestep'),
    class_labels: find('in.class_labels'),
    encoder_hidden_states: context,
    encoder_attention_mask: find('in.encoder_attention_mask', 'in.attention_mask'),
    resolution: find('in.added_cond_kwargs.resolution'),
    aspect_ratio: find('in.added_cond_kwargs.aspect_ratio'),
  };
  const feeds = Object.fromEntries(
    Object.entries(given).flatMap(([name, tensor]) => {
      if (!tensor) return [];
      const whole = name === 'class_labels' || name === 'encoder_attention_mask';
      return [[name, whole ? integers(toInt32(tensor), tensor.shape) : floats(toFloat32(tensor), tensor.shape)]];
    }),
  );
  const expected = find('out.sample')!;
  const shape = { batch, height, width, ...(tokens === undefined ? {} : { tokens }) };
  return { feeds, shape, expected: toFloat32(expected), dims: expected.shape };
}

for (const { name, checkpoint: path, io } of recordings) {
  const skip = existsSync(path) ? false : `${path} is not there: it is not shipped`;
  describe(`${name} in ONNX`, { skip }, () => {
    for (const { name: form } of linearForms) {
      it(`${form}: the recorded output to ${BUDGETS[form]}`, async (t) => {
        const checkpoint = await openCheckpoint(path);
        const { feeds, shape, expected, dims } = readRecording(io);
        const result = await run(checkpoint, form, feeds, shape);
        await checkpoint.close();
        assert.deepEqual(result.dims, dims);
        const error = relativeError(result.output, expected);
        t.diagnostic(`relative error ${error.toExponential(2)}`);
        assert.ok(error <= BUDGETS[form], `relative error ${error}`);
        // A form that computes in float32 after all would be no form.
        assert.ok(form === 'fp32' || error > 1e-3, `relative error ${error}`);
      });
    }
  });
}

it('every exporter has a recorded network', async () => {
  const recorded = await Promise.all(
    [diffusers('dit'), emoji].map(async ({ checkpoint: path }) => {
      const checkpoint = await openCheckpoint(path);
      await checkpoint.close();
      return checkpoint.architecture;
    }),
  );
  for (const { architecture } of exporters) assert.ok(architecture.names.some((name) => recorded.includes(name)));
});

/** Numbers that look like noise, of about unit size. */
function noise(count: number, seed: number): Float32Array {
  let state = seed;
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
    return (state / 0x40000000 - 1) * 1.7;
  });
}

it('another batch, size and number of tokens, some hidden: as the reference engine computes them', async () => {
  const checkpoint = await openCheckpoint(emoji.checkpoint);
  const { transformer } = await loadFloatModel(checkpoint, new ReferenceEngine());
  for (const batch of [1, 3]) {
    const shape = { batch, height: 16, width: 24, tokens: 5 };
    const text = noise(batch * 5 * 256, 3);
    const mask = Int32Array.from({ length: batch * 5 }, (_, i) => Number(i % 5 < 3));
    const sample = noise(batch * 3 * 16 * 24, 4);
    const times = Float32Array.from({ length: batch }, (_, i) => 900.5 - 300 * i);
    const feeds = {
      sample: floats(sample, [batch, 3, 16, 24]),
      timestep: floats(times, [batch]),
      encoder_hidden_states: floats(text, [batch, 5, 256]),
      encoder_attention_mask: integers(mask, [batch, 5]),
    };
    const session = transformer.begin({
      ...shape,
      frames: 1,
      text: { count: batch, tokens: 5, channels: 256, data: text, mask },
    });
    const expected = await session.forward(sample, times);
    // Text that is noise has outliers, and rounding it says nothing of the forms: of those only the shape is looked at.
    for (const { name } of linearForms) {
      const { output, dims } = await run(checkpoint, name, feeds, shape);
      assert.deepEqual(dims, [batch, 3, 16, 24]);
      const error = relativeError(output, expected);
      assert.ok(error <= (name === 'fp32' ? BUDGETS.fp32 : 1), `batch ${batch}, ${name}: ${error}`);
    }
  }
  await checkpoint.close();
});

/** A DiT with the names of facebookresearch/DiT and random weights. */
function facebookCheckpoint(): Checkpoint {
  const config = { input_size: 8, patch_size: 2, hidden_size: 40, depth: 2, num_heads: 4, num_classes: 5 };
  const { tensors } = checkpointLayout('DiT', config);
  const entry = (shape: readonly number[]): SafetensorsEntry & { file: string } => {
    return { dtype: 'F32', shape: [...shape], begin: 0, end: 0, file: '' };
  };
  return {
    path: 'random',
    architecture: 'DiT',
    config,
    files: {},
    tensors: new Map(tensors.map(({ name, shape }) => [name, entry(shape)])),
    async read(name) {
      const index = tensors.findIndex((tensor) => tensor.name === name);
      return noise(
        tensors[index].shape.reduce((a, b) => a * b, 1),
        index + 1,
      ).map((value) => value / 8);
    },
    async close() {},
  };
}

it('facebookresearch/DiT names: as the reference engine computes them', async () => {
  const checkpoint = facebookCheckpoint();
  const { transformer } = await loadFloatModel(checkpoint, new ReferenceEngine());
  const [sample, times, labels] = [noise(2 * 4 * 64, 9), Float32Array.of(3, 977.25), [5, 2]];
  const session = transformer.begin({ batch: 2, frames: 1, height: 8, width: 8, labels });
  const expected = await session.forward(sample, times);
  const feeds = {
    sample: floats(sample, [2, 4, 8, 8]),
    timestep: floats(times, [2]),
    class_labels: integers(labels, [2]),
  };
  for (const { name } of linearForms) {
    const error = relativeError((await run(checkpoint, name, feeds, {})).output, expected);
    assert.ok(error <= BUDGETS[name], `${name}: ${error}`);
  }
});

const refusal = (code: Parameters<typeof isEdgeDitError>[1], message: RegExp) => (error: unknown) =>
  isEdgeDitError(error, code) && message.test(error.message);

it('what does not fit is refused before any weight is read', async () => {
  const graph = new GraphBuilder();
  const shape = [2 ** 15, 2 ** 14];
  const read = () => Promise.reject(new Error('was read'));
  graph.output(
    'y',
    graph.node(
      'Gemm',
      [graph.input('x', 'float32', [1, shape[0]]), graph.laterFloats('w', shape, read)],
      [1, shape[1]],
    ),
  );
  await assert.rejects(
    graph.write('large', {}),
    refusal('config-unsupported', /2147483648 bytes .*2147483647.*fewer bits/),
  );

  const form = linearForms[0];
  const square = facebookCheckpoint();
  square.read = () => Promise.reject(new Error('was read'));
  const cases = [
    [{ height: 9 }, 'invalid-request', /9 x 8 is not a whole number of patches of 2/],
    [{ height: 16 }, 'invalid-argument', /only 8 x 8 can be exported, got 16 x 8/],
    [{ tokens: 7 }, 'invalid-argument', /no tokens/],
  ] as const;
  for (const [wanted, code, message] of cases) {
    await assert.rejects(exportOnnx({ checkpoint: square, form, shape: wanted }), refusal(code, message));
  }
  const untold = await openCheckpoint(diffusers('pixart-alpha').checkpoint);
  await assert.rejects(
    exportOnnx({ checkpoint: untold, form }),
    refusal('invalid-argument', /no tokenizer.*PixArt-Sigma 300/),
  );
  await untold.close();
});

it('stops by signal', async () => {
  const checkpoint = await openCheckpoint(emoji.checkpoint);
  const controller = new AbortController();
  let read = 0;
  const onWeight = () => {
    read++;
    controller.abort();
  };
  const { signal } = controller;
  await assert.rejects(
    exportOnnx({ checkpoint, form: linearForms[0], signal, onWeight }),
    refusal('aborted', /cancelled/),
  );
  assert.equal(read, 1);
  await checkpoint.close();
});
