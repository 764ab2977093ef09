/** How long passes took on the device, by timestamps around them. For measurements only. */
import { USAGE } from './gpu-queue.ts';

/** A pass is one dispatch, or all of a step. */
export type Timed = 'dispatches' | 'steps';

export interface Timing {
  readonly name: string;
  /** Nanoseconds since an arbitrary start. */
  readonly from: number;
  readonly to: number;
}

/** The most that a query set holds. */
const MOST_QUERIES = 4096;

export class PassTimer {
  readonly #queries: GPUQuerySet;
  readonly #resolved: GPUBuffer;
  readonly #staging: GPUBuffer;
  #names: string[] = [];
  #timings: Timing[] = [];

  constructor(device: GPUDevice) {
    const size = 8 * MOST_QUERIES;
    this.#queries = device.createQuerySet({ type: 'timestamp', count: MOST_QUERIES });
    // GPUBufferUsage.QUERY_RESOLVE
    this.#resolved = device.createBuffer({ size, usage: 0x200 | USAGE.copySource });
    this.#staging = device.createBuffer({ size, usage: USAGE.mapRead | USAGE.copyTarget });
  }

  /** For the next pass; undefined once the set is full. */
  pass(name: string): GPUComputePassDescriptor | undefined {
    const at = 2 * this.#names.length;
    if (at + 2 > MOST_QUERIES) return undefined;
    this.#names.push(name);
    return {
      timestampWrites: { querySet: this.#queries, beginningOfPassWriteIndex: at, endOfPassWriteIndex: at + 1 },
    };
  }

  resolve(encoder: GPUCommandEncoder): void {
    const count = 2 * this.#names.length;
    encoder.resolveQuerySet(this.#queries, 0, count, this.#resolved, 0);
    encoder.copyBufferToBuffer(this.#resolved, 0, this.#staging, 0, 8 * count);
  }

  /** Once what was resolved has run. */
  async collect(): Promise<void> {
    const bytes = 16 * this.#names.length;
    if (bytes === 0) return;
    await this.#staging.mapAsync(1, 0, bytes);
    const times = new BigUint64Array(this.#staging.getMappedRange(0, bytes));
    this.#names.forEach((name, i) => {
      this.#timings.push({ name, from: Number(times[2 * i]), to: Number(times[2 * i + 1]) });
    });
    this.#staging.unmap();
    this.#names = [];
  }

  take(): Timing[] {
    const timings = this.#timings;
    this.#timings = [];
    return timings;
  }

  close(): void {
    this.#queries.destroy();
    this.#resolved.destroy();
    this.#staging.destroy();
  }
}
