/** Pictures on a GPU are those of the wasm engine: the emoji model, whole, through the pipeline. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { OpenEngine } from '@edge-dit/runtime/engines/open-wasm';
import { openWebGpuEngine } from '@edge-dit/runtime/engines/open-webgpu';
import { Meter } from '@edge-dit/runtime/meter';
import { createNodeOrtRuntime } from '@edge-dit/runtime/onnx/ort-node';
import { Pipeline } from '@edge-dit/runtime/pipeline';
import { nodeGpu } from '@edge-dit/runtime/testing/node-gpu';
import { compileKernels } from '@edge-dit/wasm-kernels/assemble';
import { psnr } from './evaluate/psnr.ts';
import { publishEmoji } from './testing/emoji-store.ts';

/**
 * In float32, where the last bits of a sum stay last bits. In codes they move one here and there, and what comes of that in two
 * steps of a small picture says nothing: sums of integers are compared in conformance.test.ts, whole generations of quantized
 * models by `npm run evidence:webgpu`.
 */
const LEAST_PSNR = 90;
/** A software GPU needs seconds for a step of the whole picture. */
const SIDE = 32;

const gpu = await nodeGpu();
const skip = typeof gpu === 'string' && gpu;

test('a picture of the emoji model is that of the wasm engine', { skip }, async () => {
  const emoji = await publishEmoji('f16');
  const kernels = await compileKernels();
  const generate = async (openEngine?: OpenEngine) => {
    const { store } = emoji;
    const meter = new Meter(2 ** 30);
    const onnx = () => createNodeOrtRuntime();
    const pipeline = await Pipeline.open({ store, model: 'emoji', kernels, meter, openEngine, onnx });
    const request = { prompt: 'red apple, fluent 3d style', seed: 1, steps: 2, width: SIDE, height: SIDE };
    const { values } = await pipeline.generate(request);
    const name = pipeline.engine?.name;
    await pipeline.close();
    assert.equal(meter.held.has('gpu memory'), false);
    return { name, values };
  };
  try {
    const onGpu = await generate((_kernels, meter) => openWebGpuEngine(meter, { gpu: gpu as GPU }));
    assert.equal(onGpu.name, 'webgpu');
    const got = psnr(onGpu.values, (await generate()).values);
    assert.ok(got >= LEAST_PSNR, `${got.toFixed(1)} dB`);
  } finally {
    await emoji.remove();
  }
});
