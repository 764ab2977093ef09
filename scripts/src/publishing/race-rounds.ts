/**
 * Several processes that publish one name at once. Held until all have read the pointer, exactly one wins; let go at
 * different times, several may win, one after the other. In both cases the pointer is that of a winner, whole, and every
 * winner is in it or in its history; all others were told.
 */
import assert from 'node:assert/strict';
import { readPointer } from '@edge-dit/runtime/load-manifest';
import type { WritableStore } from '@edge-dit/runtime/stores/store';
import type { TrustPolicy } from '@edge-dit/runtime/trust';
import { Publisher } from './publisher.ts';
import { verifyAll } from './store-state.ts';

export interface RaceRoundsOptions {
  readonly store: WritableStore;
  readonly place: string;
  /** Where the processes find what their models are versions of. */
  readonly modelsPlace: string;
  readonly pem: string;
  readonly trust: TrustPolicy;
  readonly publishers: number;
  readonly rounds: number;
  readonly onRound?: (done: number) => void;
}

export interface RaceResults {
  readonly publishers: number;
  readonly rounds: number;
  /** Winners of each round: of those that were held, and of those that were not. */
  readonly winnersHeld: readonly number[];
  readonly winnersFree: readonly number[];
}

const MODEL = 'raced';

export async function raceRounds(options: RaceRoundsOptions): Promise<RaceResults> {
  const { store, place, pem, trust, publishers: count, rounds, onRound } = options;
  const publishers = await Promise.all(Array.from({ length: count }, () => Publisher.start(options.modelsPlace)));
  const winners = { held: [] as number[], free: [] as number[] };
  try {
    for (let round = 1; round <= rounds; round++) {
      const hold = round % 2 === 1;
      const before = (await readPointer(store, MODEL))?.pointer.manifest;
      const running = publishers.map((publisher, i) => {
        const held = publisher.held();
        const outcome = publisher.run({ publish: { place, model: MODEL, version: round * 64 + i, pem }, hold });
        return { held, outcome };
      });
      if (hold) {
        await Promise.all(running.map(({ held }) => held));
        for (const publisher of publishers) publisher.go();
      }
      const outcomes = await Promise.all(running.map(({ outcome }) => outcome));
      const won = outcomes.flatMap((outcome) => ('done' in outcome ? outcome.done.digest : []));
      for (const outcome of outcomes) {
        if (!('done' in outcome))
          assert.ok('failed' in outcome && outcome.failed.code === 'precondition-failed', JSON.stringify(outcome));
      }
      assert.ok(hold ? won.length === 1 : won.length >= 1, `${won.length} won round ${round}`);
      const { manifest, history = [] } = (await readPointer(store, MODEL))!.pointer;
      const versions = [manifest, ...history.map((version) => version.manifest)];
      assert.ok(won.includes(manifest), 'the pointer is of one of them');
      for (const digest of won) assert.ok(versions.includes(digest), `${digest} was lost`);
      if (before !== undefined) assert.equal(versions[won.length], before, 'what was there is the next in the history');
      assert.equal((await verifyAll(store, trust)).get(MODEL), manifest);
      winners[hold ? 'held' : 'free'].push(won.length);
      onRound?.(round);
    }
  } finally {
    await Promise.all(publishers.map((publisher) => publisher.end()));
  }
  return { publishers: count, rounds, winnersHeld: winners.held, winnersFree: winners.free };
}
