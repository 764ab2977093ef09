/** Times kernels on a device by themselves: each dispatch in a pass of its own, by timestamps. */
import { GpuMemory } from '@edge-dit/runtime/engines/webgpu/gpu-memory';
import { GpuQueue, type Groups } from '@edge-dit/runtime/engines/webgpu/gpu-queue';
import type { Kernel } from '@edge-dit/runtime/engines/webgpu/kernel';
import { Meter } from '@edge-dit/runtime/meter';
import { randomBits } from '../core/random-values.ts';

/** Rounds of a figure; the first are not counted. */
const ROUNDS = 25;
const WARM = 5;

export const median = (values: readonly number[]): number =>
  [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];

export class DispatchClock {
  readonly device: GPUDevice;
  readonly #queue: GpuQueue;
  readonly #memory: GpuMemory;

  constructor(device: GPUDevice) {
    this.device = device;
    this.#queue = new GpuQueue(device, 'dispatches');
    this.#memory = new GpuMemory(this.#queue, new Meter(2 ** 40));
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

  /** A buffer of bytes -128..127. */
  bytes(data: Uint32Array<ArrayBuffer>): GPUBuffer {
    const buffer = this.#memory.weights(data.byteLength);
    this.device.queue.writeBuffer(buffer, 0, data);
    return buffer;
  }

  /** Gives back what was made since the last call. */
  clear(): void {
    this.#memory.release(0);
  }

  /** Compiles kernels at the same time, before they are timed one after another. */
  async prepare(kernels: readonly Kernel[]): Promise<void> {
    for (const kernel of kernels) this.#queue.prepare(kernel);
    await this.#queue.ready(kernels);
  }

  /** Median nanoseconds of a dispatch. */
  async time(
    kernel: Kernel,
    buffers: readonly GPUBuffer[],
    parameters: Record<string, number>,
    groups: Groups,
    rounds = ROUNDS,
  ): Promise<number> {
    for (let i = 0; i < rounds + WARM; i++) this.#queue.dispatch(kernel, buffers, parameters, groups);
    await this.#queue.read(buffers[0], 0, 4);
    const times = this.#queue.takeTimings().map(({ from, to }) => to - from);
    return median(times.slice(WARM));
  }

  close(): void {
    this.#memory.close();
    this.#queue.close();
  }
}
