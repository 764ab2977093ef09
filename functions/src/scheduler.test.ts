import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isEdgeDitError } from '@edge-dit/runtime/errors';
import { Problem } from './problem.ts';
import { Scheduler } from './scheduler.ts';

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
const open = (waiting: number, waitingPerKey = waiting) => new Scheduler({ waiting, waitingPerKey });
const refused = (code: string) => (error: unknown) =>
  error instanceof Problem && error.code === code && Number(error.headers['retry-after']) >= 1;

test('one at a time, in the order of arrival, whether turns end well or not', async () => {
  const scheduler = open(8);
  const log: string[] = [];
  const a = controlled(log, 'a');
  const b = controlled(log, 'b');
  const results = [
    scheduler.take('k', a.work),
    scheduler.take('k', b.work),
    scheduler.take('k', () => Promise.reject(new Error('c failed'))).catch((error: Error) => error.message),
    scheduler.take('k', async () => 'd'),
  ];
  await settle();
  assert.deepEqual(log, ['a starts']);
  assert.deepEqual([scheduler.running, scheduler.waiting], [1, 3]);
  b.end();
  a.end();
  assert.deepEqual(await Promise.all(results), ['a', 'b', 'c failed', 'd']);
  assert.deepEqual(log, ['a starts', 'a ends', 'b starts', 'b ends']);
  assert.equal(await scheduler.take('k', async () => 'e'), 'e');
  assert.deepEqual([scheduler.running, scheduler.waiting], [0, 0]);
});

test('keys take turns: one request of one waits for one of the other, not for all', async () => {
  const scheduler = open(20);
  const order: string[] = [];
  const first = controlled([], 'first');
  const running = scheduler.take('many', first.work);
  const ask = (key: string, name: string) => scheduler.take(key, async () => void order.push(name));
  const all = ['m1', 'm2', 'm3'].map((name) => ask('many', name));
  all.push(ask('few', 'f1'), ask('other', 'o1'), ask('few', 'f2'));
  first.end();
  await Promise.all([running, ...all]);
  assert.deepEqual(order, ['m1', 'f1', 'o1', 'm2', 'f2', 'm3']);
});

test('nobody overtakes between two turns', async () => {
  const scheduler = open(8);
  const order: string[] = [];
  const first = controlled([], 'first');
  const running = scheduler.take('k', first.work);
  const second = scheduler.take('k', async () => void order.push('second'));
  first.end();
  await running;
  const third = scheduler.take('k', async () => void order.push('third'));
  await Promise.all([second, third]);
  assert.deepEqual(order, ['second', 'third']);
});

test('beyond the limit: busy, with the advice when to come back; the others keep their places', async () => {
  const scheduler = open(1);
  const first = controlled([], 'first');
  const running = scheduler.take('k', first.work);
  const waiting = scheduler.take('k', async () => 'second');
  await assert.rejects(
    scheduler.take('other', async () => 'third'),
    refused('busy'),
  );
  const going = scheduler.take('k', async () => 'goes on', { admitted: true });
  first.end();
  assert.deepEqual(await Promise.all([running, waiting, going]), ['first', 'second', 'goes on']);
});

test('a key has its share of the places; others still find theirs', async () => {
  const scheduler = open(3, 1);
  const first = controlled([], 'first');
  const running = scheduler.take('a', first.work);
  const waiting = scheduler.take('a', async () => 'second');
  await assert.rejects(
    scheduler.take('a', async () => 'third'),
    refused('too-many-requests'),
  );
  const other = scheduler.take('b', async () => 'of b');
  first.end();
  assert.deepEqual(await Promise.all([running, waiting, other]), ['first', 'second', 'of b']);
});

test('a limit of 0: nobody waits', async () => {
  const scheduler = open(0);
  const first = controlled([], 'first');
  const running = scheduler.take('k', first.work);
  await assert.rejects(
    scheduler.take('k', async () => 'second'),
    refused('busy'),
  );
  first.end();
  await running;
  assert.equal(await scheduler.take('k', async () => 'third'), 'third');
});

test('who leaves while waiting gives up the place, and the work is not begun', async () => {
  const scheduler = open(1);
  const first = controlled([], 'first');
  const running = scheduler.take('k', first.work);
  const leaving = new AbortController();
  let begun = false;
  const left = scheduler.take('k', async () => (begun = true), { signal: leaving.signal });
  leaving.abort();
  await assert.rejects(left, (error) => isEdgeDitError(error, 'aborted'));
  const next = scheduler.take('k', async () => 'next');
  await assert.rejects(
    scheduler.take('k', async () => 'late', { signal: AbortSignal.abort() }),
    (error) => isEdgeDitError(error, 'aborted'),
  );
  first.end();
  assert.deepEqual(await Promise.all([running, next]), ['first', 'next']);
  assert.equal(begun, false);
});
