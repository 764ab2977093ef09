/** Listens to the compute passes that others make on a device: takes their time, and does again what was done in them. */
import { USAGE } from '@edge-dit/runtime/engines/webgpu/gpu-queue';

// GPUBufferUsage and GPUMapMode, which Node has not as globals.
const QUERY_RESOLVE = 0x200;
const MAP_READ = 1;
/** Passes that are timed together at most. */
const MOST_PASSES = 64;

interface Command {
  readonly pipeline: GPUComputePipeline;
  readonly groups: ReadonlyMap<number, BindArguments>;
  readonly counts: Parameters<GPUComputePassEncoder['dispatchWorkgroups']>;
}

type BindArguments = [index: number, group: GPUBindGroup | null, offsets?: Iterable<number>];

export class PassRecorder {
  readonly #device: GPUDevice;
  readonly #queries: GPUQuerySet;
  readonly #resolved: GPUBuffer;
  readonly #staging: GPUBuffer;
  /** Of passes since `start` that have timestamps of ours. */
  #count = 0;
  #listening = false;
  #timed = false;
  #commands: Command[] = [];

  /** @param device with `timestamp-query` */
  constructor(device: GPUDevice) {
    const size = 16 * MOST_PASSES;
    this.#device = device;
    this.#queries = device.createQuerySet({ type: 'timestamp', count: 2 * MOST_PASSES });
    this.#resolved = device.createBuffer({ size, usage: QUERY_RESOLVE | USAGE.copySource });
    this.#staging = device.createBuffer({ size, usage: USAGE.mapRead | USAGE.copyTarget });
    const create = device.createCommandEncoder.bind(device);
    device.createCommandEncoder = (descriptor) => {
      const encoder = create(descriptor);
      if (!this.#listening) return encoder;
      const begin = encoder.beginComputePass.bind(encoder);
      encoder.beginComputePass = (pass) =>
        this.#record(begin(this.#timed ? { ...pass, timestampWrites: this.#next() } : pass));
      return encoder;
    };
  }

  /** @param timed passes get timestamps of ours, instead of those that they may have */
  start(timed: boolean): void {
    this.#listening = true;
    this.#timed = timed;
    this.#count = 0;
    this.#commands = [];
  }

  /** Nanoseconds of the passes since `start`, together, where they were timed. */
  async stop(): Promise<number> {
    this.#listening = false;
    if (this.#count === 0) return 0;
    const times = await this.#read(this.#device.createCommandEncoder(), this.#count);
    return times.reduce((sum, time) => sum + time, 0);
  }

  /**
   * Nanoseconds of so many passes, each with all that was dispatched since `start`.
   * @param wanted which of it, by the label of the pipeline
   */
  async repeat(times: number, wanted: (label: string) => boolean = () => true): Promise<number[]> {
    const commands = this.#commands.filter(({ pipeline }) => wanted(pipeline.label));
    this.#count = 0;
    const encoder = this.#device.createCommandEncoder();
    for (let i = 0; i < times; i++) {
      const pass = encoder.beginComputePass({ timestampWrites: this.#next() });
      for (const { pipeline, groups, counts } of commands) {
        pass.setPipeline(pipeline);
        for (const [index, group, offsets] of groups.values()) pass.setBindGroup(index, group, offsets);
        pass.dispatchWorkgroups(...counts);
      }
      pass.end();
    }
    return this.#read(encoder, times);
  }

  #record(pass: GPUComputePassEncoder): GPUComputePassEncoder {
    const [set, dispatch] = [pass.setPipeline.bind(pass), pass.dispatchWorkgroups.bind(pass)];
    const bind = pass.setBindGroup.bind(pass) as (...bound: BindArguments) => undefined;
    const groups = new Map<number, BindArguments>();
    let current: GPUComputePipeline;
    pass.setPipeline = (pipeline) => {
      current = pipeline;
      return set(pipeline);
    };
    pass.setBindGroup = (...bound: BindArguments) => {
      groups.set(bound[0], bound);
      return bind(...bound);
    };
    pass.dispatchWorkgroups = (...counts) => {
      this.#commands.push({ pipeline: current, groups: new Map(groups), counts });
      return dispatch(...counts);
    };
    return pass;
  }

  /** Nanoseconds of the first passes, after what was encoded. */
  async #read(encoder: GPUCommandEncoder, count: number): Promise<number[]> {
    encoder.resolveQuerySet(this.#queries, 0, 2 * count, this.#resolved, 0);
    encoder.copyBufferToBuffer(this.#resolved, 0, this.#staging, 0, 16 * count);
    this.#device.queue.submit([encoder.finish()]);
    await this.#staging.mapAsync(MAP_READ, 0, 16 * count);
    const times = new BigUint64Array(this.#staging.getMappedRange(0, 16 * count));
    const taken = Array.from({ length: count }, (_, i) => Number(times[2 * i + 1] - times[2 * i]));
    this.#staging.unmap();
    return taken;
  }

  #next(): GPUComputePassTimestampWrites {
    const at = 2 * this.#count;
    this.#count += 1;
    return { querySet: this.#queries, beginningOfPassWriteIndex: at, endOfPassWriteIndex: at + 1 };
  }
}
