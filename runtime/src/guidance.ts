/** Classifier-free guidance (arXiv 2207.12598), and what one network call of a batch looks like with and without it. */
import type { Session } from './models/architecture.ts';

/**
 * One guided evaluation of the network for `count` samples: u + guidance (c - u), of the first `channels` channels
 * (a learned variance behind them is dropped). With guidance the batch of `session` is the unconditional half, then
 * the conditional one; without, it is the conditional one alone.
 */
export interface GuidedCall {
  readonly session: Session;
  readonly count: number;
  readonly guided: boolean;
  readonly guidance: number;
  /** Values of one sample. */
  readonly size: number;
  /** Values of one output, at least `size`. */
  readonly outputSize: number;
}

export async function guidedOutput(
  call: GuidedCall,
  sample: Float32Array,
  timestep: number,
  tick: () => Promise<void>,
): Promise<Float32Array> {
  const { session, count, guided, guidance, size, outputSize } = call;
  const batch = guided ? 2 * count : count;
  const input = new Float32Array(batch * size);
  for (let half = 0; half < batch / count; half++) input.set(sample, half * count * size);
  const output = await session.forward(input, new Float32Array(batch).fill(timestep), { tick });
  const out = new Float32Array(count * size);
  for (let item = 0; item < count; item++) {
    const conditional = (guided ? count + item : item) * outputSize;
    for (let i = 0; i < size; i++) {
      const c = output[conditional + i];
      const u = guided ? output[item * outputSize + i] : c;
      out[item * size + i] = guided ? u + guidance * (c - u) : c;
    }
  }
  return out;
}
