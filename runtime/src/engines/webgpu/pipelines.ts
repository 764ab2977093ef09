/** Kernels compiled: each once a device, all of them at the same time, and their bind groups remembered. */
import { EdgeDitError } from '../../errors.ts';
import { type Kernel, PARAMETER_BYTES } from './kernel.ts';

// Names of the specification that TypeScript declares as values, which not every host has.
const COMPUTE = 4;

interface Compiled {
  /** Settled with an error when the text does not compile here. */
  readonly ready: Promise<void>;
  pipeline?: GPUComputePipeline;
  readonly layout: GPUBindGroupLayout;
  readonly groups: Map<string, GPUBindGroup>;
}

export class Pipelines {
  readonly parameterLayout: GPUBindGroupLayout;
  readonly #device: GPUDevice;
  readonly #compiled = new Map<string, Compiled>();
  readonly #layouts = new Map<string, GPUBindGroupLayout>();
  readonly #ids = new WeakMap<GPUBuffer, number>();
  #lastId = 0;

  constructor(device: GPUDevice) {
    this.#device = device;
    this.parameterLayout = device.createBindGroupLayout({
      entries: [
        {
          binding: 0,
          visibility: COMPUTE,
          buffer: { type: 'uniform', hasDynamicOffset: true, minBindingSize: PARAMETER_BYTES },
        },
      ],
    });
  }

  /** Starts to compile the kernel, unless that was done. */
  prepare(kernel: Kernel): void {
    if (!this.#compiled.has(kernel.name)) this.#compiled.set(kernel.name, this.#compile(kernel));
  }

  /** Resolves when all of these, prepared before, can be encoded. Raises `engine-unavailable` where one does not compile. */
  async ready(kernels: Iterable<Kernel>): Promise<void> {
    const waiting = [...new Set(kernels)].map(({ name }) => this.#compiled.get(name)!);
    await Promise.all(waiting.filter(({ pipeline }) => pipeline === undefined).map(({ ready }) => ready));
  }

  pipeline(kernel: Kernel): GPUComputePipeline {
    return this.#compiled.get(kernel.name)!.pipeline!;
  }

  bindGroup(kernel: Kernel, buffers: readonly GPUBuffer[]): GPUBindGroup {
    const { layout, groups } = this.#compiled.get(kernel.name)!;
    const key = buffers.map((buffer) => this.#idOf(buffer)).join(' ');
    const known = groups.get(key);
    if (known) return known;
    const entries = buffers.map((buffer, binding) => ({ binding, resource: { buffer } }));
    const made = this.#device.createBindGroup({ layout, entries });
    groups.set(key, made);
    return made;
  }

  /** For when buffers were destroyed: their bind groups are of no use, and hold them. */
  forgetBindGroups(): void {
    for (const { groups } of this.#compiled.values()) groups.clear();
  }

  #compile(kernel: Kernel): Compiled {
    const layout = this.#layoutOf(kernel.access);
    // What is wrong with the text is told by the pipeline, not as an error of the device.
    this.#device.pushErrorScope('validation');
    const module = this.#device.createShaderModule({ label: kernel.name, code: kernel.code });
    void this.#device.popErrorScope();
    const compiled: Compiled = {
      layout,
      groups: new Map(),
      ready: this.#device
        .createComputePipelineAsync({
          label: kernel.name,
          layout: this.#device.createPipelineLayout({ bindGroupLayouts: [this.parameterLayout, layout] }),
          compute: { module },
        })
        .then(
          (pipeline) => {
            compiled.pipeline = pipeline;
          },
          async (cause) => {
            const { messages } = await module.getCompilationInfo();
            const why = messages[0]?.message ?? (cause instanceof Error ? cause.message : String(cause));
            throw new EdgeDitError('engine-unavailable', `the GPU cannot run kernel "${kernel.name}": ${why}`, {
              cause,
            });
          },
        ),
    };
    // Whoever needs the kernel awaits it; until then a failure is nobody's unhandled rejection.
    compiled.ready.catch(() => {});
    return compiled;
  }

  #layoutOf(access: Kernel['access']): GPUBindGroupLayout {
    const key = access.join();
    const known = this.#layouts.get(key);
    if (known) return known;
    const entries = access.map((mode, binding) => ({
      binding,
      visibility: COMPUTE,
      buffer: { type: mode === 'read' ? ('read-only-storage' as const) : ('storage' as const) },
    }));
    const made = this.#device.createBindGroupLayout({ entries });
    this.#layouts.set(key, made);
    return made;
  }

  #idOf(buffer: GPUBuffer): number {
    const known = this.#ids.get(buffer);
    if (known !== undefined) return known;
    this.#lastId += 1;
    this.#ids.set(buffer, this.#lastId);
    return this.#lastId;
  }
}
