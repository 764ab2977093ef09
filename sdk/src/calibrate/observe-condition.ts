/**
 * One condition through the float network and its own sampler; out comes what every group of linear layers read. Tokens
 * that the text's mask hides are not counted: no weight of an attention ever reaches them.
 */
import { type Linear, matrixOf, type Operand } from '@edge-dit/runtime/engines/engine';
import type { Conditions, Transformer } from '@edge-dit/runtime/models/architecture';
import { philox4x32 } from '@edge-dit/runtime/noise';
import { isGuided, sample } from '@edge-dit/runtime/sample';
import { createSampler } from '@edge-dit/runtime/samplers/index';
import type { FloatModel } from '../float-model.ts';
import { countToken, emptyStatistics, type GroupStatistics } from './group-statistics.ts';
import type { ObservingEngine, TakeValues } from './observing-engine.ts';

/** Takes some of the tokens that layers read: as many of each step, half and condition. */
export interface TokenSample {
  /** How many of an operand of so many channels, in all conditions together; all where there are fewer. */
  wanted(channels: number): number;
  /** Takes a token [channels] that `layer`, the first of its group, read; its memory is the caller's. */
  take(layer: string, step: number, token: Float32Array): void | Promise<void>;
}

export interface ObservedRun {
  readonly model: FloatModel;
  /** The engine in which the model is. */
  readonly observing: ObservingEngine;
  readonly sample?: TokenSample;
  readonly schedulerConfig: Readonly<Record<string, unknown>>;
  readonly conditions: Conditions;
  readonly steps: number;
  readonly guidance: number;
  readonly seed: number;
  /** Which of how many conditions this is: each gives its share of the sample. */
  readonly index: number;
  readonly count: number;
  readonly signal?: AbortSignal;
  readonly onStep?: () => void;
}

interface Group {
  readonly layers: string[];
  /** Whether all steps share what it reads. */
  readonly once: boolean;
  readonly statistics: GroupStatistics;
}

export async function observeCondition(run: ObservedRun): Promise<GroupStatistics[]> {
  const { model, observing, schedulerConfig, conditions, guidance, seed, onStep } = run;
  const { architecture, transformer, weights } = model;
  const sampler = createSampler(schedulerConfig, run.steps);
  const names = new Map(architecture.linears.map(({ name }) => [weights.linear(name), name]));
  const groups = new Map<string, Group>();
  const byOperand = new WeakMap<Operand, Group>();
  // One after another: what takes tokens may have to wait.
  let counted = Promise.resolve();
  const observe = (linear: Linear, operand: Operand, step: number, once: boolean): TakeValues | undefined => {
    const name = names.get(linear)!;
    const shared = byOperand.get(operand);
    if (shared) {
      if (!shared.layers.includes(name)) shared.layers.push(name);
      return undefined;
    }
    const steps = once ? 1 : sampler.timesteps.length;
    const group = groups.get(name) ?? newGroup(run, name, matrixOf(operand.source).channels, steps, once);
    groups.set(name, group);
    byOperand.set(operand, group);
    return (values) => (counted = counted.then(() => count(run, group, operand, values, step)));
  };
  const watch = (step: number, once: boolean) => {
    observing.observer = (linear, operand) => observe(linear, operand, step, once);
  };
  const watched: Transformer = {
    begin(given, schedule) {
      watch(0, true);
      const session = transformer.begin(given, schedule);
      watch(0, false);
      return session;
    },
  };
  try {
    await sample({
      engine: observing,
      transformer: watched,
      geometry: architecture.geometry,
      sampler,
      conditions,
      guidance,
      seed,
      signal: run.signal,
      onStep: (step) => {
        watch(step, false);
        onStep?.();
      },
    });
  } finally {
    observing.observer = undefined;
  }
  return [...groups.values()].map(({ statistics }) => statistics);
}

function newGroup({ guidance }: ObservedRun, name: string, channels: number, steps: number, once: boolean): Group {
  const layers = [name];
  const shape = { channels, steps, halves: isGuided(guidance) ? 2 : 1 };
  return { layers, once, statistics: emptyStatistics(layers, shape) };
}

async function count(
  run: ObservedRun,
  group: Group,
  operand: Operand,
  values: Float32Array,
  step: number,
): Promise<void> {
  const { statistics, layers } = group;
  const { channels } = statistics;
  const tokens = tokensByHalf(group, operand, run.conditions);
  for (const [half, rows] of tokens.entries()) {
    for (const row of rows) countToken(statistics, step, half, values, row);
  }
  if (!run.sample) return;
  const total = run.sample.wanted(channels);
  const places = run.count * statistics.steps * tokens.length;
  for (const [half, rows] of tokens.entries()) {
    const place = (run.index * statistics.steps + step) * tokens.length + half;
    const keys = [run.seed, nameKey(layers[0])];
    for (const row of chosen(rows, share(total, place, places), [step, half, run.index], keys)) {
      await run.sample.take(layers[0], step, values.subarray(row * channels, (row + 1) * channels));
    }
  }
}

/** What place `place` of `places` gets of `total`, so that all of them get it and none much more than another. */
const share = (total: number, place: number, places: number) =>
  Math.floor(((place + 1) * total) / places) - Math.floor((place * total) / places);

/**
 * The rows of an operand that count, by half of a guided request. A batch of tokens is [batch, tokens, channels], what
 * belongs to a step and not to a token [steps * batch, channels].
 */
function tokensByHalf({ once, statistics }: Group, { source }: Operand, { batch, text }: Conditions): number[][] {
  const { rows } = matrixOf(source);
  const { halves } = statistics;
  const ofTokens = source.shape.length > 2;
  // The only tokens that all steps share are those of the text.
  const mask = once && ofTokens && text?.mask.length === rows ? text.mask : undefined;
  const out: number[][] = Array.from({ length: halves }, () => []);
  for (let row = 0; row < rows; row++) {
    const item = ofTokens ? Math.floor((row * batch) / rows) : row % batch;
    if (mask?.[row] !== 0) out[Math.floor((item * halves) / batch)].push(row);
  }
  return out;
}

/** `wanted` of the rows, or all where there are fewer: one from each of as many equal stretches, drawn from the keys. */
function chosen(rows: readonly number[], wanted: number, place: readonly number[], keys: readonly number[]): number[] {
  if (wanted >= rows.length) return [...rows];
  return Array.from({ length: wanted }, (_, i) => {
    const words = Uint32Array.of(i, ...place);
    philox4x32(words, keys[0], keys[1]);
    return rows[Math.floor(((i + words[0] / 2 ** 32) * rows.length) / wanted)];
  });
}

/** 32 bits of a layer's name (FNV-1a), so that layers draw different tokens. */
function nameKey(name: string): number {
  let hash = 0x811c9dc5;
  for (const letter of name) hash = Math.imul(hash ^ letter.charCodeAt(0), 0x01000193);
  return hash >>> 0;
}
