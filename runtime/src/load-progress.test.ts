import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type LoadProgress, loadProgress } from './load-progress.ts';

const manifest = { shards: [1000, 500].map((length) => ({ sha256: '', length })) };

function record() {
  let time = 7;
  const seen: LoadProgress[] = [];
  const hooks = loadProgress(
    manifest,
    (progress) => seen.push(progress),
    () => time,
  );
  return {
    seen,
    ...hooks,
    pass: (ms: number) => {
      time += ms;
    },
  };
}

test('bytes, shards, rate and the time that is left', () => {
  const { seen, onBytes, onShard, pass } = record();
  pass(1000);
  onBytes(300);
  const first = { bytes: 300, totalBytes: 1500, shards: 0, totalShards: 2, fetchedBytes: 300 };
  assert.deepEqual(seen[0], { ...first, bytesPerSecond: 300, etaMs: 4000 });
  pass(1000);
  onBytes(700);
  onShard(0);
  onBytes(500);
  assert.equal(seen.at(-1)?.bytes, 1499, 'nothing is done that is not verified');
  onShard(1);
  const last = seen.at(-1)!;
  assert.deepEqual([last.bytes, last.shards, last.etaMs, last.bytesPerSecond], [1500, 2, 0, 750]);
});

test('what is fetched again is told apart, and progress does not go back', () => {
  const { seen, onBytes, onShard, pass } = record();
  pass(100);
  for (const count of [1000, 1000, 500]) onBytes(count);
  onShard(0);
  onShard(1);
  assert.ok(seen.every(({ bytes }, i) => i === 0 || bytes >= seen[i - 1].bytes));
  assert.deepEqual([seen.at(-1)?.bytes, seen.at(-1)?.fetchedBytes], [1500, 2500]);
});

test('the rate is that of the last seconds', () => {
  const { seen, onBytes, pass } = record();
  for (let i = 0; i < 10; i++) {
    pass(1000);
    onBytes(i < 5 ? 10 : 100);
  }
  assert.equal(seen.at(-1)?.bytesPerSecond, 100);
  assert.equal(seen.at(0)?.bytesPerSecond, 10);
  const idle = record();
  idle.onBytes(5);
  assert.equal(idle.seen[0].etaMs, undefined);
});
