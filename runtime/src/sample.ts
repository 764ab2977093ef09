/** Noise to a sample: the loop over the steps. Can be stopped between any two blocks, and says how far it is. */
import type { Engine } from './engines/engine.ts';
import { EdgeDitError } from './errors.ts';
import { guidedOutput } from './guidance.ts';
import type { Conditions, Geometry, Transformer } from './models/architecture.ts';
import { gaussianNoise, noiseStream } from './noise.ts';
import type { Sampler, SamplerState } from './samplers/sampler.ts';

export interface SampleOptions {
  readonly engine: Engine;
  readonly transformer: Transformer;
  readonly geometry: Geometry;
  readonly sampler: Sampler;
  /** With guidance the unconditional rows, then the conditional ones; one row a sample without. */
  readonly conditions: Conditions;
  readonly guidance: number;
  /** Unit noise to start from, one sample after another; drawn from the seed without it. */
  readonly noise?: Float32Array;
  readonly seed: number | bigint;
  /** Goes on from there instead of starting from noise. */
  readonly from?: SampleCheckpoint;
  /** Ends after so many steps, 1 at least; after the last one without it. */
  readonly stopAfter?: number;
  readonly signal?: AbortSignal;
  /** After each step, and waited for; step counts from 1. */
  readonly onStep?: (step: number, steps: number, report: StepReport) => void | Promise<void>;
}

/** Between two steps: all that the steps after it depend on, beside the request. Whoever keeps it may not change it. */
export interface SampleCheckpoint {
  /** Steps done. */
  readonly step: number;
  readonly state: SamplerState;
}

export interface StepReport extends SampleCheckpoint {
  /** The sample without noise that the network saw in this step, [count, channels, frames, height, width]. */
  predicted(): Float32Array;
}

/** Whether a guidance scale changes anything: at 1 the unconditional half cancels out. */
export const isGuided = (guidance: number) => guidance !== 1;

/**
 * The state after the steps that were asked for; after the last, `state.x` is the sample [count, channels, frames, height,
 * width]. Raises `aborted`, and `non-finite` when the network broke down.
 */
export async function sample(options: SampleOptions): Promise<SampleCheckpoint> {
  const { engine, transformer, geometry, sampler, conditions, guidance, seed, signal, onStep } = options;
  const steps = sampler.timesteps.length;
  const first = options.from?.step ?? 0;
  const last = Math.min(steps, first + (options.stopAfter ?? steps));
  const guided = isGuided(guidance);
  const count = guided ? conditions.batch / 2 : conditions.batch;
  const pixels = conditions.frames * conditions.height * conditions.width;
  const size = geometry.inChannels * pixels;
  const outputSize = geometry.outChannels * pixels;
  const draw = (index: number) => noiseOf(seed, index, count, size);
  const tick = async () => {
    await yieldToHost();
    if (signal?.aborted) throw new EdgeDitError('aborted', 'the generation was cancelled.', { cause: signal.reason });
  };
  const start = () => (options.noise ?? draw(0)).map((value) => value * sampler.initNoiseSigma);
  const mark = engine.mark();
  try {
    const call = {
      session: transformer.begin(conditions, sampler.timesteps.slice(first, last)),
      count,
      guided,
      guidance,
      size,
      outputSize,
    };
    let state = options.from?.state ?? { x: start(), history: [] };
    for (let i = first; i < last; i++) {
      const { x } = state;
      const output = await guidedOutput(call, sampler.scaleInput(x, i), sampler.timesteps[i], tick);
      state = sampler.step(i, output, state, () => draw(i + 1));
      checkFinite(state.x, i);
      await onStep?.(i + 1, steps, { step: i + 1, state, predicted: () => sampler.predict(i, output, x) });
    }
    return { step: last, state };
  } finally {
    engine.release(mark);
  }
}

function noiseOf(seed: number | bigint, index: number, count: number, size: number): Float32Array {
  const out = new Float32Array(count * size);
  for (let item = 0; item < count; item++) out.set(gaussianNoise(seed, noiseStream(item, index), size), item * size);
  return out;
}

function checkFinite(x: Float32Array, step: number): void {
  const at = x.findIndex((value) => !Number.isFinite(value));
  if (at >= 0) {
    throw new EdgeDitError(
      'non-finite',
      `the sample has ${x[at]} at value ${at} after step ${step + 1}; the model or its quantization is broken.`,
    );
  }
}

/**
 * Lets the host do something else. A long run of wasm blocks its event loop otherwise. Browsers make every timeout 4 ms,
 * which is a second in a picture; tasks of their scheduler take turns with messages at once.
 */
function yieldToHost(): Promise<void> {
  const { setImmediate, scheduler } = globalThis as {
    setImmediate?: (callback: () => void) => void;
    scheduler?: { postTask?: (callback: () => void) => Promise<void> };
  };
  if (setImmediate === undefined && scheduler?.postTask !== undefined) return scheduler.postTask(() => {});
  return new Promise((resolve) => (setImmediate ? setImmediate(resolve) : setTimeout(resolve, 0)));
}
