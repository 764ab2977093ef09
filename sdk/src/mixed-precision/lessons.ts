/**
 * Calls of the float network that another network repeats: in some steps of the sampler's way to a picture, what the
 * network read, what it answered, and how much an error of that answer would change the picture.
 */
import type { Engine } from '@edge-dit/runtime/engines/engine';
import type { Conditions, Geometry, Session, Transformer } from '@edge-dit/runtime/models/architecture';
import { gaussianNoise, noiseStream } from '@edge-dit/runtime/noise';
import { isGuided } from '@edge-dit/runtime/sample';
import { createSampler } from '@edge-dit/runtime/samplers/index';
import type { SamplerState } from '@edge-dit/runtime/samplers/sampler';

export interface Answer {
  /** With guidance applied, [channels, ...] of the sample. */
  readonly output: Float32Array;
  /** The output with the text, or the class, minus that without; empty without guidance. */
  readonly difference: Float32Array;
}

export interface Lesson {
  /** Of the sampler. */
  readonly step: number;
  readonly timestep: number;
  readonly sample: Float32Array;
  readonly exact: Answer;
  /** The mean square by which the last sample changes, by that of an error here. */
  readonly gain: number;
}

export interface Course {
  readonly schedulerConfig: Readonly<Record<string, unknown>>;
  readonly steps: number;
  readonly guidance: number;
}

/** Errors of a network by the metrics that layers are judged by. */
export interface Errors {
  /** What they change in pictures: the sum of the mean squared errors of all answers, each times the gain of its step. */
  readonly picture: number;
  /**
   * Of what the text changes, in shares of its mean square, in the mean of all answers. Without guidance nothing tells the
   * text's part, and it is the picture's.
   */
  readonly text: number;
}

/** A condition is looked at in every so many steps, the next condition one step later. */
const EVERY = 5;

interface Networks {
  readonly engine: Engine;
  readonly geometry: Geometry;
  readonly exact: Transformer;
  /** Errs a little, as quantized networks err: gains are those of its errors. */
  readonly disturbed: Transformer;
}

/** The lessons of condition `index`, which starts from the noise of its seed. */
export async function lessonsOf(
  { schedulerConfig, steps, guidance }: Course,
  { index, seed, conditions }: { readonly index: number; readonly seed: number; readonly conditions: Conditions },
  { engine, geometry, exact, disturbed }: Networks,
): Promise<Lesson[]> {
  const sampler = createSampler(schedulerConfig, steps);
  const every = Math.min(EVERY, sampler.timesteps.length);
  const size = geometry.inChannels * conditions.frames * conditions.height * conditions.width;
  const draw = (i: number) => gaussianNoise(seed, noiseStream(0, i), size);
  const mark = engine.mark();
  try {
    const session = exact.begin(conditions, sampler.timesteps);
    const other = disturbed.begin(conditions, sampler.timesteps);
    const answer = (of: Session, { x }: SamplerState, i: number) =>
      answerOf(of, sampler.scaleInput(x, i), sampler.timesteps[i], guidance);
    const next = (state: SamplerState, i: number, output: Float32Array) =>
      sampler.step(i, output, state, () => draw(i + 1));
    const finish = async (from: SamplerState, first: number) => {
      let state = from;
      for (let i = first; i < sampler.timesteps.length; i++) {
        state = next(state, i, (await answer(session, state, i)).output);
      }
      return state.x;
    };
    const visited: { readonly i: number; readonly state: SamplerState; readonly answer: Answer }[] = [];
    let state: SamplerState = { x: draw(0).map((value) => value * sampler.initNoiseSigma), history: [] };
    for (let i = 0; i < sampler.timesteps.length; i++) {
      const given = await answer(session, state, i);
      if (i % every === index % every) visited.push({ i, state, answer: given });
      state = next(state, i, given.output);
    }
    const lessons: Lesson[] = [];
    for (const { i, state: before, answer: given } of visited) {
      const { output } = await answer(other, before, i);
      const changed = await finish(next(before, i, output), i + 1);
      const error = meanSquare(output, given.output);
      const gain = error === 0 ? 0 : meanSquare(changed, state.x) / error;
      const sample = sampler.scaleInput(before.x, i);
      lessons.push({ step: i, timestep: sampler.timesteps[i], sample, exact: given, gain });
    }
    return lessons;
  } finally {
    engine.release(mark);
  }
}

/** Of one picture; the unconditional half of a batch comes first. */
export async function answerOf(
  session: Session,
  sample: Float32Array,
  timestep: number,
  guidance: number,
): Promise<Answer> {
  const size = sample.length;
  if (!isGuided(guidance)) {
    const output = await session.forward(sample, [timestep]);
    return { output: output.slice(0, size), difference: new Float32Array() };
  }
  const input = new Float32Array(2 * size);
  input.set(sample);
  input.set(sample, size);
  const output = await session.forward(input, [timestep, timestep]);
  // A learned variance may lie behind the channels of each half.
  const half = output.length / 2;
  const difference = Float32Array.from({ length: size }, (_, i) => output[half + i] - output[i]);
  return { output: difference.map((value, i) => output[i] + guidance * value), difference };
}

/** @param gains of the sampler's steps */
export function errorsOf(
  answers: readonly Answer[],
  lessons: readonly Pick<Lesson, 'step' | 'exact'>[],
  gains: readonly number[],
): Errors {
  let [picture, text] = [0, 0];
  for (const [i, { step, exact }] of lessons.entries()) {
    picture += gains[step] * meanSquare(answers[i].output, exact.output);
    const square = meanSquare(exact.difference);
    if (square > 0) text += meanSquare(answers[i].difference, exact.difference) / square / lessons.length;
  }
  return { picture, text: lessons.some(({ exact }) => exact.difference.length > 0) ? text : picture };
}

/** The gain of each step: the mean over the conditions that were looked at in it. */
export function gainsOf(lessons: readonly Pick<Lesson, 'step' | 'gain'>[]): number[] {
  const bySteps: number[][] = [];
  for (const { step, gain } of lessons) (bySteps[step] ??= []).push(gain);
  return Array.from(bySteps, (gains = []) => gains.reduce((sum, gain) => sum + gain / gains.length, 0));
}

/** Of a - b. */
function meanSquare(a: Float32Array, b?: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i] - (b?.[i] ?? 0)) ** 2;
  return a.length === 0 ? 0 : sum / a.length;
}
