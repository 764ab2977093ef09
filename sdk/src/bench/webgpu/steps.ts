/** Whole steps of networks on a GPU, against the sum of their products. */
import type { AttentionPrecision, CodeBits } from '@edge-dit/runtime/engines/engine';
import { type OpenedWebGpu, openWebGpuEngine } from '@edge-dit/runtime/engines/open-webgpu';
import type { Timed } from '@edge-dit/runtime/engines/webgpu/timing';
import { Meter } from '@edge-dit/runtime/meter';
import { median } from './dispatch-clock.ts';
import { openRandomModel, type RandomModel } from './random-model.ts';

export interface StepFigure {
  readonly model: string;
  readonly bits: CodeBits;
  readonly attention: AttentionPrecision;
  /** Milliseconds from the call to its answer; of the GPU, for the step in one pass; of its products alone, one by one. */
  readonly wall: number;
  readonly device: number;
  readonly products: number;
  /** Of the host, within the wall: handing the commands to the driver. */
  readonly submit?: number;
  /** Milliseconds by kind of kernel, each dispatch a pass of its own. */
  readonly parts: Readonly<Record<string, number>>;
  readonly dispatches: number;
  /** Bytes of GPU buffers. */
  readonly bytes: number;
  /** The answer is finite. */
  readonly finite: boolean;
}

const ROUNDS = 7;

export async function timeStep(
  gpu: GPU,
  model: RandomModel,
  bits: CodeBits,
  attention: AttentionPrecision,
): Promise<StepFigure> {
  const walls: number[] = [];
  const submits: number[] = [];
  let finite = true;
  let bytes = 0;
  const run = async (timed: Timed, each: (opened: OpenedWebGpu) => void) => {
    const opened = await openWebGpuEngine(new Meter(2 ** 40), { gpu, timed });
    try {
      const step = openRandomModel(opened.engine, model, bits, attention);
      finite &&= (await step()).every(Number.isFinite);
      await step();
      opened.takeTimings();
      const submitted = timeSubmissions(opened.device.queue);
      for (let i = 0; i < ROUNDS; i++) {
        const start = performance.now();
        await step();
        if (timed === 'steps') {
          walls.push(performance.now() - start);
          submits.push(submitted());
        }
        each(opened);
      }
      bytes = opened.engine.bytes;
    } finally {
      opened.close();
    }
  };
  const devices: number[] = [];
  await run('steps', (opened) => {
    devices.push(opened.takeTimings().reduce((sum, { from, to }) => sum + (to - from) / 1e6, 0));
  });
  const parts = new Map<string, number[]>();
  let dispatches = 0;
  await run('dispatches', (opened) => {
    const timings = opened.takeTimings();
    dispatches = timings.length;
    const sums = new Map<string, number>();
    for (const { name, from, to } of timings) {
      const kind = name.split(' ')[0];
      sums.set(kind, (sums.get(kind) ?? 0) + (to - from) / 1e6);
    }
    for (const [kind, sum] of sums) parts.set(kind, [...(parts.get(kind) ?? []), sum]);
  });
  const medians = Object.fromEntries([...parts].map(([kind, sums]) => [kind, median(sums)]));
  const products = Object.entries(medians).reduce((sum, [kind, ms]) => sum + (kind.startsWith('gemm') ? ms : 0), 0);
  const [wall, device, submit] = [median(walls), median(devices), median(submits)];
  return {
    model: model.name,
    bits,
    attention,
    wall,
    device,
    products,
    submit,
    parts: medians,
    dispatches,
    bytes,
    finite,
  };
}

/** Milliseconds that `submit` took since the last call of what this returns. */
function timeSubmissions(queue: GPUQueue): () => number {
  const submit = queue.submit.bind(queue);
  let sum = 0;
  queue.submit = (buffers) => {
    const start = performance.now();
    submit(buffers);
    sum += performance.now() - start;
    return undefined;
  };
  return () => {
    const taken = sum;
    sum = 0;
    return taken;
  };
}
