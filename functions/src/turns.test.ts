import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isEdgeDitError } from '@edge-dit/runtime/errors';
import { Problem } from './problem.ts';
import { Turns } from './turns.ts';

/** Work that ends when it is told to. */
function controlled(log: string[], name: string) {
  let end!: () => void;
  const ended = new Promise<void>((resolve) => (end = resolve));
  const work = async () => {
    log.push(`${name} starts`);
    await ended;
    log.push(`${name} ends`);
    return name;
  };
  return { work, end };
}

const settle = () => new Promise((resolve) => setImmediate(resolve));

test('one at a time, in the order of arrival, whether turns end well or not', async () => {
  const turns = new Turns(8);
  const log: string[] = [];
  const a = controlled(log, 'a');
  const b = controlled(log, 'b');
  const results = [
    turns.take(a.work),
    turns.take(b.work),
    turns.take(() => Promise.reject(new Error('c failed'))).catch((error: Error) => error.message),
    turns.take(async () => 'd'),
  ];
  await settle();
  assert.deepEqual(log, ['a starts']);
  b.end();
  a.end();
  assert.deepEqual(await Promise.all(results), ['a', 'b', 'c failed', 'd']);
  assert.deepEqual(log, ['a starts', 'a ends', 'b starts', 'b ends']);
  assert.equal(await turns.take(async () => 'e'), 'e');
});

test('nobody overtakes between two turns', async () => {
  const turns = new Turns(8);
  const order: string[] = [];
  const first = controlled([], 'first');
  const running = turns.take(first.work);
  const second = turns.take(async () => void order.push('second'));
  first.end();
  await running;
  const third = turns.take(async () => void order.push('third'));
  await Promise.all([second, third]);
  assert.deepEqual(order, ['second', 'third']);
});

test('beyond the limit: busy, with the advice when to come back; the others keep their places', async () => {
  const turns = new Turns(1);
  const first = controlled([], 'first');
  const running = turns.take(first.work);
  const waiting = turns.take(async () => 'second');
  await assert.rejects(
    turns.take(async () => 'third'),
    (error) => error instanceof Problem && error.code === 'busy' && Number(error.headers['retry-after']) >= 1,
  );
  first.end();
  assert.deepEqual(await Promise.all([running, waiting]), ['first', 'second']);
});

test('a limit of 0: nobody waits', async () => {
  const turns = new Turns(0);
  const first = controlled([], 'first');
  const running = turns.take(first.work);
  await assert.rejects(
    turns.take(async () => 'second'),
    Problem,
  );
  first.end();
  await running;
  assert.equal(await turns.take(async () => 'third'), 'third');
});

test('who leaves while waiting gives up the place, and the work is not begun', async () => {
  const turns = new Turns(1);
  const first = controlled([], 'first');
  const running = turns.take(first.work);
  const leaving = new AbortController();
  let begun = false;
  const left = turns.take(async () => (begun = true), leaving.signal);
  leaving.abort();
  await assert.rejects(left, (error) => isEdgeDitError(error, 'aborted'));
  const next = turns.take(async () => 'next');
  await assert.rejects(
    turns.take(async () => 'late', AbortSignal.abort()),
    Problem,
  );
  first.end();
  assert.deepEqual(await Promise.all([running, next]), ['first', 'next']);
  assert.equal(begun, false);
});
