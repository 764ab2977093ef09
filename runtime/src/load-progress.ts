/**
 * Bytes and shards as they arrive in, how far a load is and how long it will take out. Give `onBytes` and `onShard` to
 * whatever fetches. Bytes that a retry fetches again are `fetchedBytes` and not `bytes`: progress never goes back.
 */
import type { Manifest } from './format/manifest.ts';

export interface LoadProgress {
  /** Of the model; at most `totalBytes`, and equal to it only when all shards are verified. */
  readonly bytes: number;
  readonly totalBytes: number;
  /** Verified. */
  readonly shards: number;
  readonly totalShards: number;
  /** All that came, what had to come again included. */
  readonly fetchedBytes: number;
  /** Of the last seconds. */
  readonly bytesPerSecond: number;
  /** Milliseconds until the end at that rate; undefined until there is one. */
  readonly etaMs: number | undefined;
}

/** The rate is that of so many milliseconds: long enough to be steady, short enough to follow the connection. */
const WINDOW_MS = 5000;

export interface ProgressHooks {
  readonly onBytes: (count: number) => void;
  readonly onShard: (index: number) => void;
}

/** @param now milliseconds of any origin */
export function loadProgress(
  { shards }: Pick<Manifest, 'shards'>,
  listener: (progress: LoadProgress) => void,
  now: () => number = () => performance.now(),
): ProgressHooks {
  const totalBytes = shards.reduce((sum, { length }) => sum + length, 0);
  const samples: { at: number; fetched: number }[] = [{ at: now(), fetched: 0 }];
  let [fetchedBytes, verifiedBytes, verified, bytes] = [0, 0, 0, 0];
  const report = () => {
    const at = now();
    samples.push({ at, fetched: fetchedBytes });
    while (samples.length > 2 && at - samples[1].at >= WINDOW_MS) samples.shift();
    const elapsed = at - samples[0].at;
    const bytesPerSecond = elapsed > 0 ? (1000 * (fetchedBytes - samples[0].fetched)) / elapsed : 0;
    // The last byte counts when everything was verified.
    const most = verified === shards.length ? totalBytes : totalBytes - 1;
    bytes = Math.min(most, Math.max(bytes, verifiedBytes, fetchedBytes));
    const etaMs = bytesPerSecond > 0 ? (1000 * (totalBytes - bytes)) / bytesPerSecond : undefined;
    const totals = { totalBytes, totalShards: shards.length };
    listener({ ...totals, bytes, shards: verified, fetchedBytes, bytesPerSecond, etaMs });
  };
  return {
    onBytes(count) {
      fetchedBytes += count;
      report();
    },
    onShard(index) {
      verified++;
      verifiedBytes += shards[index].length;
      report();
    },
  };
}
