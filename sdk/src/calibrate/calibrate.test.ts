import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { isEdgeDitError } from '@edge-dit/runtime/errors';
import { type Checkpoint, openCheckpoint } from '../checkpoint/checkpoint.ts';
import { makeTinyPipeline } from '../cli/testing/tiny-pipeline.ts';
import { type CalibrateOptions, calibrate } from './calibrate.ts';
import { calibrateToFile } from './calibrate-to-file.ts';
import { readCalibration } from './calibration-file.ts';
import { RANGE_FIELDS } from './group-statistics.ts';

const root = await mkdtemp(join(tmpdir(), 'edge-dit-calibrate-'));
const checkpoint: Checkpoint = await openCheckpoint(await makeTinyPipeline(root, 'dit'));
after(async () => {
  await checkpoint.close();
  await rm(root, { recursive: true });
});
const options: CalibrateOptions = { checkpoint, conditions: [0, 3, 5], steps: 2, moments: true };
const file = (name: string) => join(root, name);
const whole = await calibrate(options);

test('every layer is in one group, with the statistics of its tokens', () => {
  const layers = whole.groups.flatMap(({ layers }) => layers);
  assert.equal(new Set(layers).size, layers.length);
  assert.ok(whole.groups.some(({ layers }) => layers.join().replace(/[^,]*attn1\./g, '') === 'to_q,to_k,to_v'));
  for (const group of whole.groups) {
    const { layers, channels, steps, halves, channelMax, stepChannelMax, channelSquares, tokenRanges, moments } = group;
    const tokens = tokenRanges.filter((_, i) => i % RANGE_FIELDS.length === 0).reduce((a, b) => a + b);
    const squares = channelSquares.reduce((a, b) => a + b);
    assert.deepEqual([channelMax.length, stepChannelMax.length, halves], [channels, steps * channels, 2], layers[0]);
    stepChannelMax.forEach((value, i) => {
      assert.ok(value <= channelMax[i % channels]);
      assert.ok(value ** 2 <= channelSquares[i] * (1 + 1e-6));
    });
    // So few tokens were run that all of them were taken.
    assert.equal(moments!.rows, tokens);
    const trace = moments!.matrix.filter((_, i) => i % (channels + 1) === 0).reduce((a, b) => a + b);
    assert.ok(Math.abs(trace / squares - 1) < 1e-4, `${layers[0]}: ${trace}, ${squares}`);
  }
});

test('one thread and two, and a file, give the same bits', async () => {
  const one = await calibrateToFile({ ...options, threads: 1, out: file('one') });
  const two = await calibrateToFile({ ...options, threads: 2, out: file('two') });
  assert.deepEqual(await readFile(file('one')), await readFile(file('two')));
  assert.equal(existsSync(file('one.partial')), false);
  const read = await readCalibration(file('two'));
  for (const calibration of [one, two, read]) assert.deepEqual(calibration, whole);
  for (const [i, { moments }] of whole.groups.entries())
    assert.deepEqual(moments!.matrix, read.groups[i].moments!.matrix);
  const { sha256 } = await calibrate({ ...options, seed: 1 });
  assert.notEqual(sha256, whole.sha256);
});

test('what was stopped is continued to the same bytes, and refused under other settings', async () => {
  const out = file('stopped');
  const stop = new AbortController();
  let steps = 0;
  const onStep = () => {
    if (++steps === 3) stop.abort();
  };
  const stopped = calibrateToFile({ ...options, threads: 1, out, signal: stop.signal, onStep });
  await assert.rejects(stopped, (error) => isEdgeDitError(error, 'aborted'));
  assert.equal(existsSync(out), false);
  const other = { ...options, out, steps: 3, guidance: 2 };
  await assert.rejects(calibrateToFile(other), (error) => {
    assert.ok(isEdgeDitError(error, 'precondition-failed'));
    assert.match(error.message, /stopped\.partial was begun with .*\(steps 2, now 3; guidance 3, now 2\).* --restart/);
    return true;
  });
  let resumed = 0;
  const onResume = (done: number) => {
    resumed = done;
  };
  await calibrateToFile({ ...options, out, onResume });
  assert.equal(resumed, 1);
  assert.deepEqual(await readCalibration(out), whole);
});

test('a damaged partial file is refused, and forgotten with restart', async () => {
  const out = file('damaged');
  await writeFile(`${out}.partial`, 'no tensors at all');
  await assert.rejects(calibrateToFile({ ...options, out }), (error) => {
    return isEdgeDitError(error, 'precondition-failed') && /damaged\.partial: .*--restart/.test(error.message);
  });
  const { sha256 } = await calibrateToFile({ ...options, out, restart: true });
  assert.equal(sha256, whole.sha256);
});

test('what a thread raises comes with its code', async () => {
  const wrong = calibrate({ ...options, conditions: [99] });
  await assert.rejects(
    wrong,
    (error) => isEdgeDitError(error, 'invalid-request') && /class labels/.test(error.message),
  );
  await assert.rejects(calibrate({ ...options, conditions: [] }), (error) => isEdgeDitError(error, 'invalid-argument'));
});
