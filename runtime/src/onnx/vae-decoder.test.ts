import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isEdgeDitError } from '../errors.ts';
import { Meter } from '../meter.ts';
import { type OnnxConstant, type OnnxGraph, writeOnnxModel } from './onnx-writer.ts';
import { createNodeOrtRuntime } from './ort-node.ts';
import { type ImageBatch, OnnxVaeDecoder, vaeFactors } from './vae-decoder.ts';

const LATENT = 4;
const HIDDEN = 6;
const runtime = createNodeOrtRuntime();

/** Values of about unit size that look like noise; the same on every run. */
function values(count: number, seed: number): Float32Array {
  let state = seed;
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
    return (state / 0x40000000 - 1) / 2;
  });
}

const constant = (name: string, dims: number[], data: Float32Array): OnnxConstant => ({
  name,
  type: 'float32',
  dims,
  bytes: new Uint8Array(data.buffer),
});

const weights = {
  conv: values(HIDDEN * LATENT * 9, 1),
  convBias: values(HIDDEN, 2),
  up: values(HIDDEN * 3 * 4, 3),
  upBias: values(3, 4),
};

/** A convolution of 3x3, a relu, and a transposed convolution that doubles height and width. */
const graph: OnnxGraph = {
  name: 'vae-decoder',
  inputs: [{ name: 'latent_sample', type: 'float32', dims: ['batch', LATENT, 'height', 'width'] }],
  outputs: [{ name: 'sample', type: 'float32', dims: ['batch', 3, 'image_height', 'image_width'] }],
  constants: [
    constant('conv.weight', [HIDDEN, LATENT, 3, 3], weights.conv),
    constant('conv.bias', [HIDDEN], weights.convBias),
    constant('up.weight', [HIDDEN, 3, 2, 2], weights.up),
    constant('up.bias', [3], weights.upBias),
  ],
  nodes: [
    {
      op: 'Conv',
      inputs: ['latent_sample', 'conv.weight', 'conv.bias'],
      outputs: ['a'],
      attributes: { kernel_shape: { ints: [3, 3] }, pads: { ints: [1, 1, 1, 1] } },
    },
    { op: 'Relu', inputs: ['a'], outputs: ['b'] },
    {
      op: 'ConvTranspose',
      inputs: ['b', 'up.weight', 'up.bias'],
      outputs: ['sample'],
      attributes: { kernel_shape: { ints: [2, 2] }, strides: { ints: [2, 2] } },
    },
  ],
};

/** The same by loops in float64. */
function decodePlainly(
  { shape: [count, , height, width], data }: ImageBatch,
  scaling: number,
  shift: number,
): number[] {
  const out: number[] = [];
  const z = (b: number, c: number, y: number, x: number) =>
    y < 0 || x < 0 || y >= height || x >= width
      ? 0
      : data[((b * LATENT + c) * height + y) * width + x] / scaling + shift;
  const hidden = (b: number, h: number, y: number, x: number) => {
    let sum = weights.convBias[h];
    for (let c = 0; c < LATENT; c++) {
      for (let k = 0; k < 9; k++) {
        sum += weights.conv[(h * LATENT + c) * 9 + k] * z(b, c, y + Math.floor(k / 3) - 1, x + (k % 3) - 1);
      }
    }
    return Math.max(sum, 0);
  };
  for (let b = 0; b < count; b++) {
    for (let c = 0; c < 3; c++) {
      for (let y = 0; y < 2 * height; y++) {
        for (let x = 0; x < 2 * width; x++) {
          let sum = weights.upBias[c];
          for (let h = 0; h < HIDDEN; h++) {
            sum += weights.up[(h * 3 + c) * 4 + (y % 2) * 2 + (x % 2)] * hidden(b, h, y >> 1, x >> 1);
          }
          out.push(sum);
        }
      }
    }
  }
  return out;
}

const decoderOf = (changed: OnnxGraph, factors = { scaling: 0.18215, shift: 0.1159 }) =>
  new OnnxVaeDecoder({ runtime, loadModel: async () => writeOnnxModel(changed), factors });

const latents: ImageBatch = { shape: [2, LATENT, 3, 5], data: values(2 * LATENT * 15, 9) };

test('latents become the picture that plain loops compute', async () => {
  const factors = vaeFactors({ scaling_factor: 0.18215, shift_factor: 0.1159 });
  const decoder = decoderOf(graph, factors);
  const image = await decoder.decode(latents);
  assert.deepEqual(image.shape, [2, 3, 6, 10]);
  const expected = decodePlainly(latents, 0.18215, 0.1159);
  assert.equal(image.data.length, expected.length);
  const error = Math.hypot(...expected.map((value, i) => value - image.data[i])) / Math.hypot(...expected);
  assert.ok(error < 1e-6, `relative error ${error}`);
  await decoder.release();
  assert.deepEqual(await decoder.decode(latents), image);
});

test('a picture does not depend on its neighbours', async () => {
  const decoder = decoderOf(graph);
  const both = await decoder.decode(latents);
  const second = await decoder.decode({ shape: [1, LATENT, 3, 5], data: latents.data.slice(LATENT * 15) });
  assert.deepEqual(second.data, both.data.slice(both.data.length / 2));
});

test('factors come from the config', () => {
  assert.deepEqual(vaeFactors({ scaling_factor: 0.13025, shift_factor: null }), { scaling: 0.13025, shift: 0 });
  for (const config of [
    {},
    { scaling_factor: 0 },
    { scaling_factor: 1, shift_factor: 'x' },
    { scaling_factor: 1, latents_mean: [0] },
  ]) {
    assert.throws(
      () => vaeFactors(config),
      (error) => isEdgeDitError(error, 'config-unsupported'),
    );
  }
});

test('a model of another form, no model, a picture of NaN and an abort are refused', async () => {
  const twoOutputs = {
    ...graph,
    outputs: [...graph.outputs, { ...graph.outputs[0], name: 'b', dims: ['n', 6, 'h', 'w'] }],
  };
  const rejects = (work: Promise<unknown>, code: Parameters<typeof isEdgeDitError>[1], mention: string) =>
    assert.rejects(work, (error: unknown) => {
      assert.ok(isEdgeDitError(error, code) && error.message.includes(mention), String(error));
      return true;
    });
  await rejects(decoderOf(twoOutputs).decode(latents), 'onnx-failed', 'sample, b');
  const nothing = new OnnxVaeDecoder({
    runtime,
    loadModel: async () => new Uint8Array(9),
    factors: { scaling: 1, shift: 0 },
  });
  await rejects(nothing.decode(latents), 'onnx-failed', 'VAE decoder could not be loaded');
  const broken = { ...latents, data: latents.data.map(() => Number.NaN) };
  await rejects(decoderOf(graph).decode(broken), 'non-finite', 'picture');
  await rejects(decoderOf(graph).decode({ ...latents, shape: [2, 2, 6, 5] }), 'onnx-failed', 'could not be run');
  await rejects(decoderOf(graph).decode({ ...latents, shape: [2, 2, 3, 5] }), 'invalid-argument', '60');
  await rejects(decoderOf(graph).decode(latents, AbortSignal.abort()), 'aborted', 'cancelled');
});

test('the engine counts its memory and refuses beyond the budget', async () => {
  const meter = new Meter();
  const session = await createNodeOrtRuntime(meter).load(writeOnnxModel(graph), 'the VAE decoder');
  assert.ok(meter.current >= 2 ** 24 && meter.held.has('onnxruntime memory'), `${meter.current}`);
  assert.equal(meter.held.size, 1, 'the bytes of the model are given back');
  const counted = meter.current;
  const again = await createNodeOrtRuntime(meter).load(writeOnnxModel(graph), 'a second runtime');
  assert.equal(meter.current, counted, 'there is one engine');
  await Promise.all([session.release(), again.release()]);
  const small = createNodeOrtRuntime(new Meter(2 ** 20));
  await assert.rejects(small.load(writeOnnxModel(graph), 'x'), (error) => isEdgeDitError(error, 'memory-exceeded'));
});
