/** Times kernels on a device by themselves: each dispatch in a pass of its own, by timestamps. */
import { GpuMemory } from '@edge-dit/runtime/engines/webgpu/gpu-memory';
import { GpuQueue, type Groups } from '@edge-dit/runtime/engines/webgpu/gpu-queue';
import type { Kernel } from '@edge-dit/runtime/engines/webgpu/kernel';
import { Meter } from '@edge-dit/runtime/meter';
import { randomBits } from '../core/random-values.ts';

/** Rounds of a figure, after some that are not counted. */
const ROUNDS = 15;
const WARM = 3;
const FENCE = new Float32Array(4);

export const median = (values: readonly number[]): number =>
  [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];

/** A dispatch that is timed. */
export interface Work {
  readonly kernel: Kernel;
  readonly buffers: readonly GPUBuffer[];
  readonly parameters: Record<string, number>;
  readonly groups: Groups;
}

export interface BusyWork extends Work {
  readonly rounds: number;
}

export interface OpenedClock {
  readonly clock: DispatchClock;
  readonly adapter: string;
  /** The language has dot4I8Packed; the adapter has float16. */
  readonly packed: boolean;
  readonly half: boolean;
}

/** @throws where there is no adapter, or one without timestamps */
export async function openClock(gpu: GPU): Promise<OpenedClock> {
  const adapter = await gpu.requestAdapter({ powerPreference: 'high-performance' });
  if (!adapter?.features.has('timestamp-query')) throw new Error('no adapter with timestamps');
  const half = adapter.features.has('shader-f16');
  const { maxStorageBufferBindingSize, maxBufferSize, maxComputeWorkgroupStorageSize } = adapter.limits;
  const device = await adapter.requestDevice({
    requiredFeatures: ['timestamp-query', ...(half ? (['shader-f16'] as const) : [])],
    requiredLimits: { maxStorageBufferBindingSize, maxBufferSize, maxComputeWorkgroupStorageSize },
  });
  const { vendor, architecture, device: model, description } = adapter.info;
  return {
    clock: new DispatchClock(device),
    adapter: [vendor, architecture, model, description].filter((part) => part).join(', '),
    packed: gpu.wgslLanguageFeatures.has('packed_4x8_integer_dot_product'),
    half,
  };
}

export class DispatchClock {
  readonly device: GPUDevice;
  /**
   * Before each figure, in the same submission: GPUs lower their clocks as soon as they have nothing to do, and take up to
   * some tenths of a second of work to raise them.
   */
  busy: BusyWork | undefined;
  readonly #queue: GpuQueue;
  readonly #memory: GpuMemory;
  readonly #idle: GPUBuffer;

  constructor(device: GPUDevice) {
    this.device = device;
    this.#queue = new GpuQueue(device, 'dispatches');
    this.#memory = new GpuMemory(this.#queue, new Meter(2 ** 40));
    this.#idle = this.random(256);
  }

  /** A buffer of random bits, that are finite as float16 and float32; never of zeros. */
  random(bytes: number, seed = 1): GPUBuffer {
    const buffer = this.#memory.weights(bytes);
    const words = Math.min(bytes / 4, 2 ** 20);
    const next = randomBits(seed);
    // Exponents around 1 in both halves of a word and in the word itself.
    const block = Uint32Array.from({ length: words }, () => (next() & 0x83ff83ff) | 0x38003800);
    for (let at = 0; at < bytes; at += 4 * words) {
      this.device.queue.writeBuffer(buffer, at, block, 0, Math.min(words, (bytes - at) / 4));
    }
    return buffer;
  }

  /** A buffer of zeros. */
  blank(bytes: number): GPUBuffer {
    return this.#memory.weights(bytes);
  }

  get mark(): number {
    return this.#memory.top;
  }

  /** Gives back what was made since the mark. */
  clear(mark: number): void {
    this.#memory.release(mark);
  }

  /** Compiles kernels at the same time, before they are timed one after another. */
  async prepare(kernels: readonly Kernel[]): Promise<void> {
    for (const kernel of kernels) this.#queue.prepare(kernel);
    await this.#queue.ready(kernels);
  }

  /** Keeps the device busy in the next submission, for all its rounds or a share of them. */
  beBusy(share = 1): void {
    const { busy } = this;
    for (let i = 0; busy && i < busy.rounds * share; i++) this.#dispatch(busy);
  }

  /** Submits what was asked for, and waits for it. */
  async settle(): Promise<void> {
    await this.#queue.read(this.#idle, 0, 4);
    this.#queue.takeTimings();
  }

  /** Median nanoseconds of each dispatch: all of them once a round, so that the clocks of a moment are those of all. */
  async time(works: readonly Work[], rounds = ROUNDS): Promise<number[]> {
    this.beBusy();
    for (let i = 0; i < rounds + WARM; i++) for (const work of works) this.#dispatch(work);
    await this.#queue.read(works[0].buffers[0], 0, 4);
    const times = this.#queue.takeTimings().map(({ from, to }) => to - from);
    const counted = times.slice((this.busy?.rounds ?? 0) + WARM * works.length);
    return works.map((_, i) => median(counted.filter((_, at) => at % works.length === i)));
  }

  /**
   * Median nanoseconds of passes of several dispatches: all passes once a round. Their last buffers are outputs, the first
   * four values of which are lost.
   */
  async timePasses(passes: readonly (readonly Work[])[], rounds = ROUNDS): Promise<number[]> {
    this.#queue.time('steps');
    this.beBusy();
    for (let i = 0; i < rounds + WARM; i++) {
      for (const works of passes) {
        for (const work of works) this.#dispatch(work);
        // A copy between two passes keeps them apart.
        this.#queue.upload(works[0].buffers.at(-1)!, FENCE);
      }
    }
    await this.#queue.read(this.#idle, 0, 4);
    this.#queue.time('dispatches');
    const times = this.#queue.takeTimings().map(({ from, to }) => to - from);
    // The first pass is that of what keeps the device busy, too.
    const counted = times.slice(WARM * passes.length);
    return passes.map((_, i) => median(counted.filter((_, at) => at % passes.length === i)));
  }

  /** Bytes of a buffer after a dispatch. */
  async outputOf(work: Work, buffer: GPUBuffer): Promise<ArrayBuffer> {
    this.#dispatch(work);
    const bytes = await this.#queue.read(buffer, 0, buffer.size);
    this.#queue.takeTimings();
    return bytes;
  }

  #dispatch({ kernel, buffers, parameters, groups }: Work): void {
    this.#queue.dispatch(kernel, buffers, parameters, groups);
  }

  close(): void {
    this.#memory.close();
    this.#queue.close();
  }
}
