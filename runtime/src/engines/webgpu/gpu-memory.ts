/**
 * Buffers of a device. Weights have their own; activations take theirs from a pool and give them back, so that each step
 * of a request finds those of the step before. What is allocated is taken from the meter first.
 */
import { EdgeDitError } from '../../errors.ts';
import type { Meter } from '../../meter.ts';
import { type GpuQueue, USAGE } from './gpu-queue.ts';

interface Held {
  readonly buffer: GPUBuffer;
  readonly pooled: boolean;
  readonly giveBack: () => void;
}

const LEAST_BYTES = 256;

export class GpuMemory {
  readonly #queue: GpuQueue;
  readonly #meter: Meter;
  /** In the order in which they were taken. */
  readonly #held: Held[] = [];
  /** Given back, by size; the last given back is the first to be taken. */
  readonly #free = new Map<number, Held[]>();
  #bytes = 0;

  constructor(queue: GpuQueue, meter: Meter) {
    this.#queue = queue;
    this.#meter = meter;
  }

  /** All that is allocated, free buffers of the pool too. */
  get bytes(): number {
    return this.#bytes;
  }

  get top(): number {
    return this.#held.length;
  }

  /** A buffer for as long as the stack is not released below it; what it holds is anything. */
  activations(bytes: number): GPUBuffer {
    const size = sizeClass(bytes);
    const held = this.#free.get(size)?.pop() ?? this.#allocate(size, true);
    this.#held.push(held);
    return held.buffer;
  }

  /** A buffer of zeros that is given to nobody else. */
  weights(bytes: number): GPUBuffer {
    const held = this.#allocate(Math.ceil(bytes / 16) * 16, false);
    this.#held.push(held);
    return held.buffer;
  }

  release(top: number): void {
    while (this.#held.length > top) {
      const held = this.#held.pop()!;
      if (held.pooled) this.#pool(held);
      else this.#drop(held);
    }
  }

  close(): void {
    this.release(0);
    this.#trim();
  }

  #pool(held: Held): void {
    const { size } = held.buffer;
    const free = this.#free.get(size);
    if (free) free.push(held);
    else this.#free.set(size, [held]);
  }

  #allocate(size: number, pooled: boolean): Held {
    const { maxStorageBufferBindingSize, maxBufferSize } = this.#queue.device.limits;
    const most = Math.min(maxStorageBufferBindingSize, maxBufferSize);
    if (size > most) {
      throw new EdgeDitError(
        'memory-exceeded',
        `a tensor of ${size} bytes does not fit this GPU, whose buffers have ${most} at most; make a smaller picture.`,
      );
    }
    if (this.#meter.current + size > this.#meter.budget) this.#trim();
    const giveBack = this.#meter.take('gpu memory', size);
    this.#bytes += size;
    const usage = USAGE.storage | USAGE.copySource | USAGE.copyTarget;
    return { buffer: this.#queue.device.createBuffer({ size, usage }), pooled, giveBack };
  }

  /** Gives back what the pool has free. */
  #trim(): void {
    for (const held of [...this.#free.values()].flat()) this.#drop(held);
    this.#free.clear();
  }

  #drop({ buffer, giveBack }: Held): void {
    this.#bytes -= buffer.size;
    this.#queue.destroy(buffer);
    giveBack();
  }
}

/** Eight sizes between a power of two and the next, so that at most an eighth is wasted. */
function sizeClass(bytes: number): number {
  let step = LEAST_BYTES;
  while (16 * step < bytes) step *= 2;
  return Math.max(1, Math.ceil(bytes / step)) * step;
}
