/** Whole steps of networks on a GPU, against the sum of their products. */
import type { AttentionPrecision, Engine } from '@edge-dit/runtime/engines/engine';
import { openWebGpuEngine } from '@edge-dit/runtime/engines/open-webgpu';
import { Meter } from '@edge-dit/runtime/meter';
import type { AttentionShape } from './attention-products.ts';
import { median } from './dispatch-clock.ts';
import { PassRecorder } from './pass-recorder.ts';
import type { StepModel } from './step-models.ts';

export interface StepFigure {
  readonly model: string;
  readonly weights: string;
  readonly attention: AttentionPrecision;
  /** Milliseconds from the call to its answer; of the GPU, for the step in one pass; of its linear layers alone, one by one. */
  readonly wall: number;
  readonly device: number;
  readonly products: number;
  /** The same of its linear layers alone, in one pass. */
  readonly linears: number;
  /** What its attentions were asked. */
  readonly attentions: readonly AttentionCalls[];
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

export interface AttentionCalls {
  readonly shape: AttentionShape;
  readonly calls: number;
}

const ROUNDS = 7;

export async function timeStep(gpu: GPU, model: StepModel): Promise<StepFigure> {
  const [walls, submits, devices]: number[][] = [[], [], []];
  const parts = new Map<string, number[]>();
  let dispatches = 0;
  const opened = await openWebGpuEngine(new Meter(2 ** 40), { gpu, timed: 'steps' });
  try {
    const step = await model.open(opened.engine);
    const asked = recordAttention(opened.engine);
    const finite = (await step()).every(Number.isFinite);
    const attentions = asked();
    await step();
    opened.takeTimings();
    const submitted = timeSubmissions(opened.device.queue);
    for (let i = 0; i < ROUNDS; i++) {
      const start = performance.now();
      await step();
      walls.push(performance.now() - start);
      submits.push(submitted());
      devices.push(opened.takeTimings().reduce((sum, { from, to }) => sum + (to - from) / 1e6, 0));
    }
    opened.time('dispatches');
    for (let i = 0; i < ROUNDS; i++) {
      await step();
      const timings = opened.takeTimings();
      dispatches = timings.length;
      const sums = new Map<string, number>();
      for (const { name, from, to } of timings) {
        const kind = name.split(' ')[0];
        sums.set(kind, (sums.get(kind) ?? 0) + (to - from) / 1e6);
      }
      for (const [kind, sum] of sums) parts.set(kind, [...(parts.get(kind) ?? []), sum]);
    }
    opened.time('steps');
    const recorder = new PassRecorder(opened.device);
    recorder.start(false);
    await step();
    await recorder.stop();
    const linears = (await recorder.repeat(ROUNDS, isProduct)).map((time) => time / 1e6);
    const { bytes } = opened.engine;
    return figureOf(model, { walls, submits, devices, parts, dispatches, bytes, finite, attentions, linears });
  } finally {
    opened.close();
  }
}

interface Measured {
  readonly walls: readonly number[];
  readonly submits: readonly number[];
  readonly devices: readonly number[];
  readonly linears: readonly number[];
  readonly parts: ReadonlyMap<string, readonly number[]>;
  readonly dispatches: number;
  readonly bytes: number;
  readonly finite: boolean;
  readonly attentions: readonly AttentionCalls[];
}

const isProduct = (name: string) => name.startsWith('gemm');

/** What attention is asked until what this returns is called. */
function recordAttention(engine: Engine): () => AttentionCalls[] {
  const calls = new Map<string, number>();
  const attention = engine.attention;
  engine.attention = (q, k, v, options) => {
    const [batch, tokens, width] = q.shape;
    const { heads, precision } = options;
    const shape = { precision, heads: batch * heads, tokens, keys: k.shape[1], depth: width / heads };
    const key = JSON.stringify(shape satisfies AttentionShape);
    calls.set(key, (calls.get(key) ?? 0) + 1);
    return attention.call(engine, q, k, v, options);
  };
  return () => {
    engine.attention = attention;
    return [...calls].map(([key, count]) => ({ shape: JSON.parse(key) as AttentionShape, calls: count }));
  };
}

function figureOf({ name, weights, attention }: StepModel, measured: Measured): StepFigure {
  const { walls, submits, devices, parts, dispatches, bytes, finite, attentions, linears } = measured;
  const medians = Object.fromEntries([...parts].map(([kind, sums]) => [kind, median(sums)]));
  const products = Object.entries(medians).reduce((sum, [kind, ms]) => sum + (isProduct(kind) ? ms : 0), 0);
  const [wall, device, submit] = [median(walls), median(devices), median(submits)];
  return {
    model: name,
    weights,
    attention,
    wall,
    device,
    products,
    linears: median(linears),
    attentions,
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
