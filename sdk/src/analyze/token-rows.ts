/** Some tokens of what each group of layers reads, by step. */
import type { TokenSample } from '../calibrate/observe-condition.ts';

/** Enough for means over tokens, and few enough to keep: 400 kB for 1,536 channels. */
const TOKENS_PER_STEP = 64;

export class TokenRows implements TokenSample {
  readonly #steps: number;
  readonly #rows = new Map<string, Float32Array[][]>();

  constructor(steps: number) {
    this.#steps = steps;
  }

  wanted(): number {
    return TOKENS_PER_STEP * this.#steps;
  }

  take(layer: string, step: number, token: Float32Array): void {
    const steps = this.#rows.get(layer) ?? [];
    this.#rows.set(layer, steps);
    (steps[step] ??= []).push(token.slice());
  }

  /** By step, [tokens, channels], of the group whose first layer this is; one step where all share what is read. */
  bySteps(layer: string): Float32Array[] {
    return (this.#rows.get(layer) ?? []).map((rows) => joined(rows));
  }

  /** [tokens, channels], at most so many, evenly from all steps and conditions. */
  some(layer: string, most: number): Float32Array {
    const all = (this.#rows.get(layer) ?? []).flat();
    const count = Math.min(most, all.length);
    return joined(Array.from({ length: count }, (_, i) => all[Math.floor((i * all.length) / count)]));
  }
}

function joined(rows: readonly Float32Array[]): Float32Array {
  const out = new Float32Array(rows.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const row of rows) {
    out.set(row, at);
    at += row.length;
  }
  return out;
}
