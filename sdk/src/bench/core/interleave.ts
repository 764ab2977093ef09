/**
 * Measures cases in turns: every round runs each once, so that a machine that slows down slows all. Each case is warmed
 * up until its engine had time to optimize it, then repeated as often as a sample needs to be well above the clock's
 * resolution (1 ms in workerd).
 */
import type { Effort, Measured } from './parts.ts';

export interface Case {
  readonly name: string;
  readonly macs?: number;
  run(): void | Promise<void>;
}

/** A sample takes this many ticks of the clock, so that its error is below 2 %. */
const TICKS = 50;

export async function interleave(cases: readonly Case[], { rounds, sampleMs, warmUpMs }: Effort): Promise<Measured[]> {
  const least = Math.max(sampleMs, TICKS * clockResolution());
  const repeats: number[] = [];
  for (const one of cases) repeats.push(await warmUp(one, least, warmUpMs));
  const milliseconds = cases.map((): number[] => []);
  for (let round = 0; round < rounds; round++) {
    // Back and forth: no case always follows the same one.
    const order = cases.map((_, i) => (round % 2 === 0 ? i : cases.length - 1 - i));
    for (const i of order) {
      await breathe();
      milliseconds[i].push((await timed(cases[i], repeats[i])) / repeats[i]);
    }
  }
  return cases.map(({ name, macs }, i) => ({ name, repeats: repeats[i], milliseconds: milliseconds[i], macs }));
}

/** The repeats that fill a sample. */
async function warmUp(one: Case, least: number, warmUpMs: number): Promise<number> {
  let repeats = 1;
  let spent = 0;
  for (;;) {
    const ms = await timed(one, repeats);
    spent += ms;
    if (spent >= warmUpMs && ms >= least) return repeats;
    // One long run is warm-up enough: the engine had its time.
    if (repeats === 1 && ms >= 4 * least && ms >= 4 * warmUpMs) return 1;
    if (ms < least) repeats = Math.ceil(repeats * Math.min(8, Math.max(1.2, (1.1 * least) / Math.max(ms, 0.01))));
  }
}

async function timed({ run }: Case, repeats: number): Promise<number> {
  const start = performance.now();
  for (let i = 0; i < repeats; i++) {
    const result = run();
    if (result !== undefined) await result;
  }
  return performance.now() - start;
}

/** The smallest step that the clock takes, in milliseconds. */
export function clockResolution(): number {
  let least = Number.POSITIVE_INFINITY;
  for (let i = 0; i < 5; i++) {
    const start = performance.now();
    let now = start;
    for (let spins = 0; now === start && spins < 1e7; spins++) now = performance.now();
    if (now > start) least = Math.min(least, now - start);
  }
  if (least === Number.POSITIVE_INFINITY) throw new Error('the clock of this host stands still while code runs');
  return least;
}

function breathe(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}
