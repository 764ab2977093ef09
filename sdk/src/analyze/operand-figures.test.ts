import assert from 'node:assert/strict';
import { test } from 'node:test';
import { countToken, emptyStatistics } from '../calibrate/group-statistics.ts';
import { varianceOf } from './operand-figures.ts';

test('variance: the largest by the mean, at each level', () => {
  const statistics = emptyStatistics(['a'], { channels: 2, steps: 2, halves: 2 });
  const tokens = [
    // Step, half, and the two channels: ranges of 1 and 3, then of 2; then, in the second step, of 9 in each half.
    [0, 0, 1, 0],
    [0, 0, 3, 1],
    [0, 1, 1, -1],
    [1, 0, 6, -3],
    [1, 1, 6, -3],
  ];
  for (const [step, half, ...values] of tokens) countToken(statistics, step, half, Float32Array.from(values), 0);
  const { channelMax, moments: _, ...rest } = statistics;
  const variance = varianceOf({ ...rest, channelMax: channelMax.slice(0, 2), stepChannelMax: channelMax });
  assert.deepEqual(variance, {
    token: (1.5 + 1 + 1 + 1) / 4,
    condition: (3 / 2.5 + 1) / 2,
    timestep: 9 / 6,
    channel: (3 / 2 + 6 / 4.5) / 2,
  });
});
