/** Finds a GPU, takes a device of it and proves that it computes as it must. */
import { EdgeDitError } from '../errors.ts';
import type { Meter } from '../meter.ts';
import type { OpenedEngine } from './open-wasm.ts';
import { selfTest } from './self-test.ts';
import { GpuMemory } from './webgpu/gpu-memory.ts';
import { GpuQueue } from './webgpu/gpu-queue.ts';
import type { Timed, Timing } from './webgpu/timing.ts';
import { WebGpuEngine } from './webgpu.ts';

export interface WebGpuOptions {
  /** Where adapters come from: `navigator.gpu` without it. In Node, `create([])` of npm `webgpu`. */
  readonly gpu?: GPU;
  /** Instead of the adapter that `gpu` gives. */
  readonly adapter?: GPUAdapter;
  /** Instead of a device of our own; it is not destroyed when the engine is closed. */
  readonly device?: GPUDevice;
  /** Integer products by plain multiplications, also where the language has dot4I8Packed. */
  readonly plainDots?: boolean;
  /** Times every dispatch, or every step. Needs `timestamp-query`. */
  readonly timed?: Timed;
}

export interface OpenedWebGpu extends OpenedEngine {
  /** Held here because Dawn in Node ends with the process's last reference to it, device in use or not. */
  readonly gpu: GPU | undefined;
  readonly device: GPUDevice;
  /** Vendor and architecture of the adapter, as far as the host says. */
  readonly adapter: string;
  /** Since the last call, with `timed`. */
  takeTimings(): Timing[];
  /** Another `timed` from the next step on, where there was one. */
  time(timed: Timed): void;
}

const LANGUAGE_FEATURE = 'packed_4x8_integer_dot_product';

/**
 * @param meter from which the bytes of GPU buffers are taken
 * @throws `engine-unavailable` where there is no WebGPU, no adapter, or one that fails its self-test
 */
export async function openWebGpuEngine(meter: Meter, options: WebGpuOptions = {}): Promise<OpenedWebGpu> {
  const gpu = options.gpu ?? (globalThis.navigator as Navigator | undefined)?.gpu;
  const { device, adapter } = await deviceOf(gpu, options);
  const own = options.device === undefined;
  const packed = !options.plainDots && (gpu?.wgslLanguageFeatures?.has(LANGUAGE_FEATURE) ?? false);
  const queue = new GpuQueue(device, options.timed);
  const memory = new GpuMemory(queue, meter);
  const software = device.adapterInfo?.isFallbackAdapter ?? false;
  const engine = new WebGpuEngine(queue, memory, { packed, software });
  const close = () => {
    memory.close();
    queue.close();
    if (own) device.destroy();
  };
  const notes = packed ? [] : [`webgpu: without ${LANGUAGE_FEATURE}, integers are multiplied one by one`];
  let failure: string | undefined;
  try {
    failure = await selfTest(engine);
  } catch (cause) {
    close();
    throw cause;
  }
  queue.takeTimings();
  const times = { takeTimings: () => queue.takeTimings(), time: (timed: Timed) => queue.time(timed) };
  if (failure === undefined) return { engine, notes, close, gpu, device, adapter, ...times };
  close();
  throw new EdgeDitError('engine-unavailable', `webgpu: ${adapter} failed its self-test (${failure})`);
}

async function deviceOf(gpu: GPU | undefined, options: WebGpuOptions): Promise<{ device: GPUDevice; adapter: string }> {
  if (options.device) return { device: options.device, adapter: describe(options.device.adapterInfo) };
  const adapter = options.adapter ?? (await gpu?.requestAdapter({ powerPreference: 'high-performance' }));
  if (!adapter) {
    const why = gpu ? 'this host has WebGPU, but no GPU that it may use' : 'this host has no WebGPU';
    throw new EdgeDitError('engine-unavailable', `webgpu: ${why}; the wasm engine runs everywhere.`);
  }
  const { limits } = adapter;
  try {
    const device = await adapter.requestDevice({
      label: 'edge-dit',
      requiredFeatures: options.timed ? ['timestamp-query'] : [],
      // What large pictures need, as far as the adapter has it.
      requiredLimits: {
        maxStorageBufferBindingSize: limits.maxStorageBufferBindingSize,
        maxBufferSize: limits.maxBufferSize,
        maxComputeWorkgroupStorageSize: limits.maxComputeWorkgroupStorageSize,
      },
    });
    return { device, adapter: describe(adapter.info) };
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new EdgeDitError('engine-unavailable', `webgpu: ${describe(adapter.info)} gave no device: ${why}`, { cause });
  }
}

const describe = (info: GPUAdapterInfo | undefined) =>
  [info?.vendor, info?.architecture, info?.description].filter((part) => part).join(' ') || 'an unnamed GPU';
