/** One condition through the network and its sampler: the sample at the end, and what the text changed in each step. */
import type { Engine } from '@edge-dit/runtime/engines/engine';
import type { Conditions, Geometry, Transformer } from '@edge-dit/runtime/models/architecture';
import { isGuided, sample } from '@edge-dit/runtime/sample';
import { createSampler } from '@edge-dit/runtime/samplers/index';

export interface ConditionRun {
  readonly schedulerConfig: Readonly<Record<string, unknown>>;
  readonly steps: number;
  readonly guidance: number;
  readonly seed: number;
  /** Of one picture. */
  readonly conditions: Conditions;
}

export interface Outcome {
  /** The last sample: pixels, or the latents of a model that has a VAE. */
  readonly picture: Float32Array;
  /** Of each step: the output with the text, or the class, minus that without. Empty without guidance. */
  readonly differences: readonly Float32Array[];
}

/** Mean squared errors of one condition, by the metrics that layers are judged by. */
export interface OutcomeErrors {
  readonly picture: number;
  /**
   * Of what the text changes, in shares of its mean square, in the mean of all steps: each step counts the same, whatever
   * the network predicts. Without guidance nothing tells the text's part, and it is that of the picture.
   */
  readonly text: number;
}

export async function runCondition(
  { schedulerConfig, steps, guidance, seed, conditions }: ConditionRun,
  { engine, transformer, geometry }: { engine: Engine; transformer: Transformer; geometry: Geometry },
): Promise<Outcome> {
  const sampler = createSampler(schedulerConfig, steps);
  const differences: Float32Array[] = [];
  const watched: Transformer = {
    begin(given, schedule) {
      const session = transformer.begin(given, schedule);
      return {
        async forward(input, timesteps, hooks) {
          const output = await session.forward(input, timesteps, hooks);
          if (isGuided(guidance)) differences.push(differenceOf(output, input.length / 2));
          return output;
        },
      };
    },
  };
  const picture = await sample({ engine, transformer: watched, geometry, sampler, conditions, guidance, seed });
  return { picture, differences };
}

/** The conditional half, which is the second, minus the other; a learned variance behind the channels does not count. */
function differenceOf(output: Float32Array, size: number): Float32Array {
  const half = output.length / 2;
  return Float32Array.from({ length: size }, (_, i) => output[half + i] - output[i]);
}

export function errorsOf(got: Outcome, exact: Outcome): OutcomeErrors {
  const picture = meanSquare(got.picture, exact.picture);
  if (exact.differences.length === 0) return { picture, text: picture };
  const shares = exact.differences.map((difference, step) => {
    const square = meanSquare(difference);
    return square === 0 ? 0 : meanSquare(got.differences[step], difference) / square;
  });
  return { picture, text: shares.reduce((sum, value) => sum + value, 0) / shares.length };
}

/** Of a - b. */
function meanSquare(a: Float32Array, b?: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i] - (b?.[i] ?? 0)) ** 2;
  return sum / a.length;
}
