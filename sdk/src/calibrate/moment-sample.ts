/** The tokens of one condition that second moments are made of, and those moments beside the other statistics. */
import type { Engine } from '@edge-dit/runtime/engines/engine';
import type { GroupStatistics } from './group-statistics.ts';
import type { TokenSample } from './observe-condition.ts';
import { SecondMoment } from './second-moment.ts';

/** Sixteen tokens for each channel determine a second moment well; small layers get more. */
const TOKENS_PER_CHANNEL = 16;
const LEAST_TOKENS = 4096;

export class MomentSample implements TokenSample {
  readonly #engine: Engine;
  readonly #conditions: number;
  readonly #moments = new Map<string, SecondMoment>();

  /** @param conditions that are run, this one included */
  constructor(engine: Engine, conditions: number) {
    this.#engine = engine;
    this.#conditions = conditions;
  }

  wanted(channels: number): number {
    return Math.max(LEAST_TOKENS, TOKENS_PER_CHANNEL * channels);
  }

  async take(layer: string, _step: number, token: Float32Array): Promise<void> {
    const channels = token.length;
    const known = this.#moments.get(layer);
    const moment = known ?? new SecondMoment(channels, Math.ceil(this.wanted(channels) / this.#conditions));
    if (!known) this.#moments.set(layer, moment);
    await moment.add(token, this.#engine);
  }

  /** The same statistics with the moments of what was taken. */
  async addTo(groups: readonly GroupStatistics[]): Promise<GroupStatistics[]> {
    const out: GroupStatistics[] = [];
    for (const group of groups) {
      const moment = this.#moments.get(group.layers[0]) ?? new SecondMoment(group.channels, 0);
      await moment.flush(this.#engine);
      out.push({ ...group, moments: { rows: moment.rows, triangle: moment.triangle } });
    }
    return out;
  }
}
