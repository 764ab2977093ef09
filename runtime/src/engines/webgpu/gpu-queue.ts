/**
 * What is to run on a device, in order. Dispatches are recorded, and become one command buffer when something is read:
 * their pipelines, which compile while more is recorded, are awaited together then. Nothing else waits.
 */
import { EdgeDitError } from '../../errors.ts';
import { type Kernel, PARAMETER_BYTES } from './kernel.ts';
import { Pipelines } from './pipelines.ts';
import { PassTimer, type Timed, type Timing } from './timing.ts';

export type Groups = readonly [x: number, y: number, z: number];

interface Dispatch {
  readonly kernel: Kernel;
  readonly buffers: readonly GPUBuffer[];
  readonly groups: Groups;
}

interface Upload {
  readonly buffer: GPUBuffer;
  readonly data: Float32Array;
}

const isDispatch = (command: Dispatch | Upload): command is Dispatch => 'kernel' in command;

// GPUBufferUsage and GPUMapMode, which not every host has as globals.
export const USAGE = { mapRead: 1, copySource: 4, copyTarget: 8, uniform: 64, storage: 128 } as const;
const MAP_READ = 1;

const LEAST_SLOTS = 1024;
const SLOT_WORDS = PARAMETER_BYTES / 4;

export class GpuQueue {
  readonly device: GPUDevice;
  readonly #pipelines: Pipelines;
  readonly #timer: PassTimer | undefined;
  #apart: boolean;
  #commands: (Dispatch | Upload)[] = [];
  /** Parameters of the recorded dispatches. */
  #slots = new Uint32Array(LEAST_SLOTS * SLOT_WORDS);
  #slotFloats = new Float32Array(this.#slots.buffer);
  #slotCount = 0;
  #uniform: { readonly buffer: GPUBuffer; readonly group: GPUBindGroup } | undefined;
  #staging: GPUBuffer | undefined;
  /** Buffers that recorded commands name. */
  readonly #pending = new Set<GPUBuffer>();
  #doomed: GPUBuffer[] = [];
  #turn: Promise<unknown> = Promise.resolve();
  #failure: EdgeDitError | undefined;
  #closed = false;

  /** @param timed for `takeTimings`: each dispatch becomes a pass of its own, or a step remains one; needs `timestamp-query` */
  constructor(device: GPUDevice, timed?: Timed) {
    this.device = device;
    this.#pipelines = new Pipelines(device);
    if (timed) this.#timer = new PassTimer(device);
    this.#apart = timed === 'dispatches';
    device.addEventListener('uncapturederror', (event) => {
      const { error } = event as GPUUncapturedErrorEvent;
      const code = error.constructor.name === 'GPUOutOfMemoryError' ? 'memory-exceeded' : 'internal';
      this.#failure ??= new EdgeDitError(code, `the GPU refused the work: ${error.message}`);
    });
    void device.lost.then(({ reason, message }) => {
      if (!this.#closed) this.#failure = lostError(`${message || 'no reason given'} (${reason})`);
    });
  }

  /** What has gone wrong with the device; `read` raises it. */
  get failure(): EdgeDitError | undefined {
    return this.#failure;
  }

  /** Compiles ahead of the first dispatch. */
  prepare(kernel: Kernel): void {
    this.#pipelines.prepare(kernel);
  }

  /** Resolves when these, prepared before, are compiled. */
  ready(kernels: readonly Kernel[]): Promise<void> {
    return this.#pipelines.ready(kernels);
  }

  dispatch(kernel: Kernel, buffers: readonly GPUBuffer[], parameters: Record<string, number>, groups: Groups): void {
    this.#pipelines.prepare(kernel);
    this.#writeSlot(kernel, parameters);
    for (const buffer of buffers) this.#pending.add(buffer);
    this.#commands.push({ kernel, buffers, groups });
  }

  /** Writes a copy of `data` from the buffer's start on, after all that was recorded before. */
  upload(buffer: GPUBuffer, data: Float32Array): void {
    if (this.#pending.has(buffer)) this.#commands.push({ buffer, data: data.slice() });
    else this.device.queue.writeBuffer(buffer, 0, data.buffer, data.byteOffset, data.byteLength);
  }

  /** Destroys a buffer after what was recorded. */
  destroy(buffer: GPUBuffer): void {
    if (this.#commands.length > 0) {
      this.#doomed.push(buffer);
      return;
    }
    buffer.destroy();
    this.#pipelines.forgetBindGroups();
  }

  /**
   * Bytes of a buffer after all that was recorded.
   * @throws `device-lost`, `memory-exceeded` or `internal`, as the device says; `engine-unavailable` where a kernel does not compile
   */
  read(buffer: GPUBuffer, at: number, bytes: number): Promise<ArrayBuffer> {
    const [commands, slots] = [this.#commands, this.#slots.slice(0, this.#slotCount * SLOT_WORDS)];
    const doomed = this.#doomed;
    this.#commands = [];
    this.#doomed = [];
    this.#slotCount = 0;
    this.#pending.clear();
    const run = this.#turn.then(() => this.#run(commands, slots, doomed, { buffer, at, bytes }));
    this.#turn = run.catch(() => {});
    return run;
  }

  /** From the next step on, with what the constructor was told of times. */
  time(timed: Timed): void {
    this.#apart = this.#timer !== undefined && timed === 'dispatches';
  }

  /** Of the passes since the last call, by the names of their first kernels: with `timed` only. */
  takeTimings(): Timing[] {
    return this.#timer?.take() ?? [];
  }

  close(): void {
    this.#closed = true;
    this.#commands = [];
    for (const buffer of this.#doomed) buffer.destroy();
    this.#uniform?.buffer.destroy();
    this.#staging?.destroy();
    this.#timer?.close();
    this.#pipelines.forgetBindGroups();
  }

  #writeSlot(kernel: Kernel, parameters: Record<string, number>): void {
    const at = this.#slotCount * SLOT_WORDS;
    if (at === this.#slots.length) {
      const more = new Uint32Array(2 * at);
      more.set(this.#slots);
      this.#slots = more;
      this.#slotFloats = new Float32Array(more.buffer);
    }
    this.#slotCount += 1;
    let i = at;
    for (const field in kernel.parameters) {
      // `none` is no parameter of anybody: it is 0.
      const value = parameters[field] ?? 0;
      if (kernel.parameters[field] === 'f32') this.#slotFloats[i] = value;
      else this.#slots[i] = value;
      i += 1;
    }
  }

  async #run(
    commands: readonly (Dispatch | Upload)[],
    slots: Uint32Array<ArrayBuffer>,
    doomed: readonly GPUBuffer[],
    wanted: { buffer: GPUBuffer; at: number; bytes: number },
  ): Promise<ArrayBuffer> {
    this.#refuse();
    await this.#pipelines.ready(commands.filter(isDispatch).map(({ kernel }) => kernel));
    const { queue } = this.device;
    const encoder = this.device.createCommandEncoder();
    if (slots.length > 0) this.#encode(encoder, commands, slots);
    const { buffer, at, bytes } = wanted;
    const staging = this.#stagingOf(bytes);
    encoder.copyBufferToBuffer(buffer, at, staging, 0, bytes);
    queue.submit([encoder.finish()]);
    for (const gone of doomed) gone.destroy();
    if (doomed.length > 0) this.#pipelines.forgetBindGroups();
    try {
      await staging.mapAsync(MAP_READ, 0, bytes);
    } catch (cause) {
      // The loss is reported beside the refusal, not always before it.
      await Promise.race([this.device.lost, new Promise((resolve) => setTimeout(resolve, LOSS_MS))]);
      this.#refuse();
      throw lostError(cause instanceof Error ? cause.message : String(cause));
    }
    const copy = staging.getMappedRange(0, bytes).slice(0);
    staging.unmap();
    await this.#timer?.collect();
    this.#refuse();
    return copy;
  }

  #encode(encoder: GPUCommandEncoder, commands: readonly (Dispatch | Upload)[], slots: Uint32Array<ArrayBuffer>): void {
    const uniform = this.#uniformOf(slots.byteLength);
    this.device.queue.writeBuffer(uniform.buffer, 0, slots);
    let pass: GPUComputePassEncoder | undefined;
    let slot = 0;
    for (const command of commands) {
      if (!isDispatch(command)) {
        pass?.end();
        pass = undefined;
        this.#encodeUpload(encoder, command);
        continue;
      }
      const { kernel, buffers, groups } = command;
      pass ??= encoder.beginComputePass(this.#timer?.pass(kernel.name));
      pass.setPipeline(this.#pipelines.pipeline(kernel));
      pass.setBindGroup(0, uniform.group, [slot * PARAMETER_BYTES]);
      pass.setBindGroup(1, this.#pipelines.bindGroup(kernel, buffers));
      pass.dispatchWorkgroups(...groups);
      slot += 1;
      if (this.#apart) {
        pass.end();
        pass = undefined;
      }
    }
    pass?.end();
    this.#timer?.resolve(encoder);
  }

  /** Through a buffer of its own: what is written at once would come before the commands. */
  #encodeUpload(encoder: GPUCommandEncoder, { buffer, data }: Upload): void {
    const source = this.device.createBuffer({
      size: data.byteLength,
      usage: USAGE.copySource | USAGE.copyTarget,
    });
    this.device.queue.writeBuffer(source, 0, data.buffer, data.byteOffset, data.byteLength);
    encoder.copyBufferToBuffer(source, 0, buffer, 0, data.byteLength);
  }

  #uniformOf(bytes: number) {
    if (this.#uniform && this.#uniform.buffer.size >= bytes) return this.#uniform;
    this.#uniform?.buffer.destroy();
    const size = Math.max(2 * bytes, LEAST_SLOTS * PARAMETER_BYTES);
    const buffer = this.device.createBuffer({ size, usage: USAGE.uniform | USAGE.copyTarget });
    const group = this.device.createBindGroup({
      layout: this.#pipelines.parameterLayout,
      entries: [{ binding: 0, resource: { buffer, size: PARAMETER_BYTES } }],
    });
    this.#uniform = { buffer, group };
    return this.#uniform;
  }

  #stagingOf(bytes: number): GPUBuffer {
    if (this.#staging && this.#staging.size >= bytes) return this.#staging;
    this.#staging?.destroy();
    this.#staging = this.device.createBuffer({ size: bytes, usage: USAGE.mapRead | USAGE.copyTarget });
    return this.#staging;
  }

  #refuse(): void {
    if (this.#failure) throw this.#failure;
  }
}

const LOSS_MS = 100;

const lostError = (why: string) =>
  new EdgeDitError(
    'device-lost',
    `the GPU was taken away while it computed: ${why}. Open an engine anew, on it or on another.`,
  );
