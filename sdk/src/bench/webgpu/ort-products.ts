/**
 * MatMul of onnxruntime-web on the same device, for comparison: its WebGPU execution provider, operands and result in the
 * GPU's memory, timed as everything here, by timestamps around the passes that it makes.
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { USAGE } from '@edge-dit/runtime/engines/webgpu/gpu-queue';
import { writeOnnxModel } from '@edge-dit/runtime/onnx/onnx-writer';
import type { InferenceSession } from 'onnxruntime-web/webgpu';
import { type DispatchClock, median } from './dispatch-clock.ts';
import type { ProductFigure, ProductShape } from './products.ts';

// GPUBufferUsage and GPUMapMode, which Node has not as globals.
const QUERY_RESOLVE = 0x200;
const MAP_READ = 1;

type Ort = typeof import('onnxruntime-web/webgpu');

const ROUNDS = 15;
const WARM = 3;
/** Passes of a run at most. */
const MOST_PASSES = 16;
const ELEMENTS = { fp32: { type: 'float32', bytes: 4 }, fp16: { type: 'float16', bytes: 2 } } as const;

export class OrtProducts {
  readonly #ort: Ort;
  readonly #clock: DispatchClock;
  readonly #passes: PassTimes;

  private constructor(ort: Ort, clock: DispatchClock) {
    this.#ort = ort;
    this.#clock = clock;
    this.#passes = new PassTimes(clock.device);
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

  /** Median nanoseconds on the device of a run of one MatMul. */
  async time(kind: 'fp32' | 'fp16', shape: ProductShape, rounds = ROUNDS): Promise<ProductFigure> {
    const { rows, columns, inputs } = shape;
    const { type, bytes } = ELEMENTS[kind];
    const clock = this.#clock;
    const mark = clock.mark;
    const tensor = (dims: readonly number[], seed: number) =>
      this.#ort.Tensor.fromGpuBuffer(clock.random(bytes * dims[0] * dims[1], seed), { dataType: type, dims });
    const feeds = { x: tensor([rows, inputs], 1), w: tensor([inputs, columns], 2) };
    const session = await this.#open(type, shape);
    const times: number[] = [];
    for (let i = 0; i < rounds + WARM; i++) {
      // Clocks fall while the host prepares a run.
      clock.beBusy(i === 0 ? 1 : 0.15);
      await clock.settle();
      this.#passes.start();
      const { y } = await session.run(feeds);
      times.push(await this.#passes.stop());
      y.dispose();
    }
    await session.release();
    clock.clear(mark);
    const nanoseconds = median(times.slice(WARM));
    const rate = (rows * columns * inputs) / nanoseconds / 1000;
    return { ...shape, kind: `ort ${kind}`, tile: 'its own', nanoseconds, rate };
  }

  #open(type: 'float32' | 'float16', { rows, columns, inputs }: ProductShape): Promise<InferenceSession> {
    const model = writeOnnxModel(
      {
        name: 'matmul',
        inputs: [
          { name: 'x', type, dims: [rows, inputs] },
          { name: 'w', type, dims: [inputs, columns] },
        ],
        outputs: [{ name: 'y', type, dims: [rows, columns] }],
        constants: [],
        nodes: [{ op: 'MatMul', inputs: ['x', 'w'], outputs: ['y'] }],
      },
      { opsets: { '': 17 } },
    );
    return this.#ort.InferenceSession.create(model, {
      executionProviders: [{ name: 'webgpu', device: this.#clock.device }],
      preferredOutputLocation: 'gpu-buffer',
    });
  }
}

/** Puts timestamps around the compute passes that others make on a device. */
class PassTimes {
  readonly #device: GPUDevice;
  readonly #queries: GPUQuerySet;
  readonly #resolved: GPUBuffer;
  readonly #staging: GPUBuffer;
  #count: number | undefined;

  constructor(device: GPUDevice) {
    const size = 16 * MOST_PASSES;
    this.#device = device;
    this.#queries = device.createQuerySet({ type: 'timestamp', count: 2 * MOST_PASSES });
    this.#resolved = device.createBuffer({ size, usage: QUERY_RESOLVE | USAGE.copySource });
    this.#staging = device.createBuffer({ size, usage: USAGE.mapRead | USAGE.copyTarget });
    const create = device.createCommandEncoder.bind(device);
    device.createCommandEncoder = (descriptor) => {
      const encoder = create(descriptor);
      if (this.#count === undefined) return encoder;
      const begin = encoder.beginComputePass.bind(encoder);
      encoder.beginComputePass = (pass) => begin({ ...pass, timestampWrites: this.#next() });
      return encoder;
    };
  }

  start(): void {
    this.#count = 0;
  }

  /** Nanoseconds of the passes since `start`, together. */
  async stop(): Promise<number> {
    const count = this.#count ?? 0;
    this.#count = undefined;
    const encoder = this.#device.createCommandEncoder();
    encoder.resolveQuerySet(this.#queries, 0, 2 * count, this.#resolved, 0);
    encoder.copyBufferToBuffer(this.#resolved, 0, this.#staging, 0, 16 * count);
    this.#device.queue.submit([encoder.finish()]);
    await this.#staging.mapAsync(MAP_READ, 0, 16 * count);
    const times = new BigUint64Array(this.#staging.getMappedRange(0, 16 * count));
    let sum = 0;
    for (let i = 0; i < count; i++) sum += Number(times[2 * i + 1] - times[2 * i]);
    this.#staging.unmap();
    return sum;
  }

  #next(): GPUComputePassTimestampWrites {
    const at = 2 * this.#count!;
    this.#count! += 1;
    return { querySet: this.#queries, beginningOfPassWriteIndex: at, endOfPassWriteIndex: at + 1 };
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
