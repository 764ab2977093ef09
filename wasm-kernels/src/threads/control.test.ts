import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Claim, Control } from './control.ts';

/** Two ends of one block, as two threads have them. */
function ends() {
  const caller = new Control();
  return { caller, worker: new Control(caller.shared) };
}

const claims = (control: Control) => {
  const found: Claim[] = [];
  for (let claim = control.claim(); claim; claim = control.claim()) found.push(claim);
  return found;
};

test('every chunk is claimed once, with its arguments as they were', () => {
  const { caller, worker } = ends();
  assert.equal(worker.claim(), undefined);
  const chunks = [
    [1, -2, 2 ** 31 + 5, Math.fround(0.1)],
    [3, 4, 5, 6],
    [7, 8, 9, 10],
  ];
  for (let call = 0; call < 3; call++) {
    caller.publish(call, 2, chunks);
    const first = worker.claim()!;
    const rest = claims(caller);
    assert.equal(worker.claim(), undefined);
    const all = [first, ...rest].sort((a, b) => a.chunk - b.chunk);
    assert.deepEqual(
      all.map(({ kernel, scratchIndex, chunk }) => [kernel, scratchIndex, chunk]),
      [0, 1, 2].map((chunk) => [call, 2, chunk]),
    );
    assert.deepEqual(
      all.map((claim) => worker.argumentsOf(claim)),
      chunks,
    );
    for (const _ of all) worker.finish();
    assert.ok(caller.finished(1, true));
  }
});

test('a chunk that is claimed and never finished ends the patience, asleep or not', () => {
  for (const maySleep of [true, false]) {
    const { caller, worker } = ends();
    caller.publish(0, -1, [[1], [2]]);
    worker.claim();
    caller.claim();
    caller.finish();
    assert.equal(caller.finished(20, maySleep), false);
    worker.finish();
    assert.ok(caller.finished(20, maySleep));
  }
});

test('stopping and failing reach the other end', () => {
  const { caller, worker } = ends();
  assert.equal(caller.failure, undefined);
  worker.fail('gelu: RuntimeError: é');
  assert.equal(caller.failure, 'gelu: RuntimeError: é');
  worker.fail('x'.repeat(1000));
  assert.equal(caller.failure, 'x'.repeat(255));
  assert.ok(!worker.stopped);
  caller.stop();
  assert.ok(worker.stopped);
  // Returns at once: nothing is to be waited for.
  worker.idle();
});
