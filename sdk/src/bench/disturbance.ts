/** Which parts a neighbour on the same machine slowed down, by their control; and once more, those. */
import { CONTROL, type TimedResult } from './core/parts.ts';
import { rateOf } from './report/figures.ts';

/** Less of the best control than this is no accident of measuring. */
const CALM = 0.9;
/** A machine that is never quiet must not be measured forever. */
const PASSES = 2;

/** Of its best in any of the results; undefined where there was no control. */
export function calmnessOf(results: readonly TimedResult[]): (number | undefined)[] {
  const rates = results.map(({ cases }) => {
    const control = cases.find(({ name }) => name === CONTROL);
    return control && rateOf(control);
  });
  const best = Math.max(...rates.map((rate) => rate ?? 0));
  return rates.map((rate) => rate && rate / best);
}

export const isDisturbed = (calmness: number | undefined) => calmness !== undefined && calmness < CALM;

export interface TimedPart {
  readonly what: string;
  result: TimedResult;
  measure(): Promise<TimedResult>;
  /** Puts the result into the report. */
  keep(result: TimedResult): void;
}

/** Measures again what was disturbed, and keeps of each part the calmest. */
export async function repeatDisturbed(
  parts: readonly TimedPart[],
  onRepeat: (what: string) => void,
  onPart: () => Promise<void>,
): Promise<void> {
  for (let pass = 0; pass < PASSES; pass++) {
    const calmness = calmnessOf(parts.map(({ result }) => result));
    for (const part of parts.filter((_, i) => isDisturbed(calmness[i]))) {
      onRepeat(part.what);
      const result = await part.measure();
      const [before, now] = calmnessOf([part.result, result]);
      if (now! <= before!) continue;
      part.result = result;
      part.keep(result);
      await onPart();
    }
  }
}
