import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { isEdgeDitError } from '../errors.ts';
import { Meter } from '../meter.ts';
import { writeOnnxModel } from '../onnx/onnx-writer.ts';
import { createNodeOrtRuntime } from '../onnx/ort-node.ts';
import { parseSafetensors, toFloat32, toInt32 } from '../safetensors.ts';
import { OnnxTextEncoder } from './onnx-text-encoder.ts';
import { loadTokenizer } from './tokenizer.ts';

const emoji = new URL('../../../examples/emoji/', import.meta.url);

function encoderOf(options: { cacheBytes?: number; meter?: Meter } = {}) {
  let loads = 0;
  const encoder = new OnnxTextEncoder({
    runtime: createNodeOrtRuntime(options.meter),
    loadModel: async () => {
      loads++;
      return readFile(new URL('model/text_encoder/model.onnx', emoji));
    },
    loadTokenizer: async () =>
      loadTokenizer(JSON.parse(await readFile(new URL('model/tokenizer/tokenizer.json', emoji), 'utf8'))),
    ...options,
  });
  return { encoder, loads: () => loads };
}

test('embeddings are those of the original encoder', async () => {
  const { tensors, metadata } = parseSafetensors(
    await readFile(new URL('fixtures/emoji-pixart-forward.safetensors', emoji)),
  );
  const expected = toFloat32(tensors.get('mid.encoder_hidden_states')!);
  const meter = new Meter();
  const { encoder } = encoderOf({ meter });
  const { count, tokens, channels, data, mask } = await encoder.encode(JSON.parse(metadata.prompts));
  assert.deepEqual([count, tokens, channels], [2, 24, 256]);
  assert.deepEqual(mask, toInt32(tensors.get('in.attention_mask')!));
  const error = Math.sqrt(
    expected.reduce((sum, value, i) => sum + (value - data[i]) ** 2, 0) / expected.reduce((sum, v) => sum + v * v, 0),
  );
  assert.ok(error <= 1e-5, `relative L2 error ${error}`);
  const engineBytes = meter.held.get('onnxruntime memory')!;
  assert.ok(engineBytes > 40 * 2 ** 20 && engineBytes < 64 * 2 ** 20, `onnxruntime holds ${engineBytes} bytes`);
  await encoder.release();
  assert.deepEqual([...meter.held.keys()], ['onnxruntime memory']);
});

test('equal prompts give equal bytes, alone, in a batch, together and from memory', async () => {
  const { encoder, loads } = encoderOf();
  const [first, batch] = await Promise.all([
    encoder.encode(['rocket, fluent style']),
    encoder.encode(['', 'rocket, fluent style', 'Rocket, Fluent style']),
  ]);
  const size = first.data.length;
  assert.deepEqual(batch.data.slice(size, 2 * size), first.data);
  assert.deepEqual(batch.data.slice(2 * size), first.data);
  assert.notDeepEqual(batch.data.slice(0, size), first.data);
  await encoder.release();
  assert.deepEqual((await encoder.encode(['rocket, fluent style'])).data, first.data);
  assert.equal(loads(), 2);
});

test('remembered prompts need no engine, and the oldest go first', async () => {
  let runs = 0;
  const row = 4 * 24 * 256;
  const engine = createNodeOrtRuntime();
  const { encoder } = encoderOf();
  const reference = await encoder.encode(['a', 'b', 'c']);
  const counting = new OnnxTextEncoder({
    runtime: {
      load: async (model, name) => {
        const session = await engine.load(model, name);
        const run: typeof session.run = (feeds) => {
          runs++;
          return session.run(feeds);
        };
        return { ...session, run };
      },
    },
    loadModel: () => readFile(new URL('model/text_encoder/model.onnx', emoji)),
    loadTokenizer: async () =>
      loadTokenizer(JSON.parse(await readFile(new URL('model/tokenizer/tokenizer.json', emoji), 'utf8'))),
    cacheBytes: 2.5 * row,
  });
  for (const [prompts, expectedRuns] of [
    [['a', 'b'], 2],
    [['a'], 2],
    [['c'], 3],
    [['a', 'c'], 3],
    [['b'], 4],
    [['c'], 4],
    [['b', 'a'], 5],
  ] as const) {
    const { data } = await counting.encode(prompts);
    assert.equal(runs, expectedRuns, prompts.join());
    const at = 'abc'.indexOf(prompts[0]) * 24 * 256;
    assert.deepEqual(data.slice(0, 24 * 256), reference.data.slice(at, at + 24 * 256));
  }
});

test('a model of another form, an abort and a failed load are typed, and loading is tried again', async () => {
  const { encoder } = encoderOf();
  await assert.rejects(encoder.encode(['x'], AbortSignal.abort()), (error) => isEdgeDitError(error, 'aborted'));
  await assert.rejects(encoder.encode([]), (error) => isEdgeDitError(error, 'invalid-argument'));
  const models = [
    async () => {
      throw new Error('offline');
    },
    async () =>
      writeOnnxModel({
        name: 'other',
        inputs: [{ name: 'tokens', type: 'int64', dims: [1, 24] }],
        outputs: [{ name: 'y', type: 'int64', dims: [1, 24] }],
        constants: [],
        nodes: [{ op: 'Identity', inputs: ['tokens'], outputs: ['y'] }],
      }),
    () => readFile(new URL('model/text_encoder/model.onnx', emoji)),
  ];
  const flaky = new OnnxTextEncoder({
    runtime: createNodeOrtRuntime(),
    loadModel: () => models.shift()!(),
    loadTokenizer: async () =>
      loadTokenizer(JSON.parse(await readFile(new URL('model/tokenizer/tokenizer.json', emoji), 'utf8'))),
  });
  await assert.rejects(flaky.encode(['x']), /offline/);
  await assert.rejects(
    flaky.encode(['x']),
    (error) => isEdgeDitError(error, 'onnx-failed') && /tokens/.test(error.message),
  );
  assert.deepEqual((await flaky.encode(['x'])).data, (await encoder.encode(['x'])).data);
});
