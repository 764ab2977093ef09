/**
 * MatMul of onnxruntime-web on the same device, for comparison: its WebGPU execution provider, operands and result in the
 * GPU's memory, timed as everything here, by timestamps around the passes that it makes.
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { writeOnnxModel } from '@edge-dit/runtime/onnx/onnx-writer';
import type { InferenceSession } from 'onnxruntime-web/webgpu';
import { type DispatchClock, median } from './dispatch-clock.ts';
import { PassRecorder } from './pass-recorder.ts';
import { COPIES, type ProductFigure, type ProductShape } from './products.ts';

type Ort = typeof import('onnxruntime-web/webgpu');

const ROUNDS = 15;
const WARM = 3;
/** Enough for what keeps the device busy to be submitted, and far less than it takes. */
const BUSY_MS = 30;
const ELEMENTS = { fp32: { type: 'float32', bytes: 4 }, fp16: { type: 'float16', bytes: 2 } } as const;

type ElementType = 'float32' | 'float16';

export class OrtProducts {
  readonly #ort: Ort;
  readonly #clock: DispatchClock;
  readonly #passes: PassRecorder;

  private constructor(ort: Ort, clock: DispatchClock) {
    this.#ort = ort;
    this.#clock = clock;
    this.#passes = new PassRecorder(clock.device);
  }

  /** Outside a browser, `navigator.gpu` becomes `gpu`. */
  static async open(gpu: GPU, clock: DispatchClock): Promise<OrtProducts> {
    if (!globalThis.navigator?.gpu) {
      const navigator = { gpu, userAgent: 'node', hardwareConcurrency: 1 };
      Object.defineProperty(globalThis, 'navigator', { value: navigator, configurable: true });
    }
    unshareWrites(clock.device.queue);
    const ort = await import('onnxruntime-web/webgpu');
    ort.env.wasm.numThreads = 1;
    const wasm = createRequire(import.meta.url).resolve('onnxruntime-web/ort-wasm-simd-threaded.asyncify.wasm');
    ort.env.wasm.wasmBinary = new Uint8Array(readFileSync(wasm)).buffer;
    return new OrtProducts(ort, clock);
  }

  /**
   * Median nanoseconds on the device of a MatMul that is a run by itself, and of one of `COPIES` in a row: those of a run,
   * of which each makes passes of its own, given to the device once more in one pass.
   */
  async time(kind: 'fp32' | 'fp16', shape: ProductShape, rounds = ROUNDS): Promise<ProductFigure> {
    const { rows, columns, inputs } = shape;
    const { type, bytes } = ELEMENTS[kind];
    const clock = this.#clock;
    const mark = clock.mark;
    const tensor = (dims: readonly number[], seed: number) =>
      this.#ort.Tensor.fromGpuBuffer(clock.random(bytes * dims[0] * dims[1], seed), { dataType: type, dims });
    const feeds = { x: tensor([rows, inputs], 1), w: tensor([inputs, columns], 2) };
    const nanoseconds = await this.#timeRuns(type, shape, feeds, rounds);
    const together = (await this.#timeRow(type, shape, feeds, rounds)) / COPIES;
    clock.clear(mark);
    const rateOf = (of: number) => (rows * columns * inputs) / of / 1000;
    const tile = 'its own';
    const inRow = { tile, nanoseconds: together, rate: rateOf(together) };
    return { ...shape, kind: `ort ${kind}`, tile, nanoseconds, rate: rateOf(nanoseconds), inRow };
  }

  async #timeRuns(
    type: ElementType,
    shape: ProductShape,
    feeds: InferenceSession.FeedsType,
    rounds: number,
  ): Promise<number> {
    const session = await this.#open(type, shape, 1);
    const times: number[] = [];
    for (let i = 0; i < rounds + WARM; i++) {
      // Clocks fall while the host prepares a run.
      this.#clock.beBusy(i === 0 ? 1 : 0.15);
      await this.#clock.settle();
      this.#passes.start(true);
      const answers = await session.run(feeds);
      times.push(await this.#passes.stop());
      for (const answer of Object.values(answers)) answer.dispose();
    }
    await session.release();
    return median(times.slice(WARM));
  }

  async #timeRow(
    type: ElementType,
    shape: ProductShape,
    feeds: InferenceSession.FeedsType,
    rounds: number,
  ): Promise<number> {
    const session = await this.#open(type, shape, COPIES);
    // What a run compiles first is no part of the next.
    for (const answer of Object.values(await session.run(feeds))) answer.dispose();
    this.#passes.start(true);
    const answers = await session.run(feeds);
    await this.#passes.stop();
    this.#clock.beBusy();
    const busy = this.#clock.settle();
    // The device is still busy when the row arrives.
    await new Promise((resolve) => setTimeout(resolve, BUSY_MS));
    const times = await this.#passes.repeat(rounds + WARM);
    await busy;
    for (const answer of Object.values(answers)) answer.dispose();
    await session.release();
    return median(times.slice(WARM));
  }

  /** As many MatMuls of the same operands, each with its answer. */
  #open(type: ElementType, { rows, columns, inputs }: ProductShape, copies: number): Promise<InferenceSession> {
    const answers = Array.from({ length: copies }, (_, i) => `y${i}`);
    const model = writeOnnxModel(
      {
        name: 'matmul',
        inputs: [
          { name: 'x', type, dims: [rows, inputs] },
          { name: 'w', type, dims: [inputs, columns] },
        ],
        outputs: answers.map((name) => ({ name, type, dims: [rows, columns] })),
        constants: [],
        nodes: answers.map((name) => ({ op: 'MatMul', inputs: ['x', 'w'], outputs: [name] })),
      },
      { opsets: { '': 17 } },
    );
    return this.#ort.InferenceSession.create(model, {
      executionProviders: [{ name: 'webgpu', device: this.#clock.device }],
      preferredOutputLocation: 'gpu-buffer',
      // Which would make one of equal nodes.
      graphOptimizationLevel: 'disabled',
    });
  }
}

/** onnxruntime writes out of shared memory, which npm `webgpu` does not take. */
function unshareWrites(queue: GPUQueue): void {
  const write = queue.writeBuffer.bind(queue);
  queue.writeBuffer = (buffer, offset, data, first, size) => {
    if (!ArrayBuffer.isView(data) || !(data.buffer instanceof SharedArrayBuffer)) {
      return write(buffer, offset, data, first, size);
    }
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    return write(buffer, offset, Uint8Array.from(bytes.subarray(first, size && (first ?? 0) + size)));
  };
}
