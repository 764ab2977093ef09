import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bytesOf, planBlocks } from './plan-blocks.ts';

const blocks = Array.from({ length: 10 }, (_, i) => ({ name: `block.${i}`, resident: 100, read: 60, largest: 60 }));
const within = (bytes: number, loading = bytes) => planBlocks(blocks, { bytes, loading, largest: 60 });

test('all stay where all fit, and the last are still read while the first compute', () => {
  const plan = within(1060)!;
  assert.deepEqual([plan.stay.length, plan.stream.length], [10, 0]);
  assert.deepEqual([plan.residentBytes, plan.placeBytes, plan.windowBytes, plan.readBytes], [1000, 0, 60, 0]);
});

test('all stay where all fit without what is read, if there is room for that before', () => {
  const plan = within(1000, 1060)!;
  assert.deepEqual([plan.stay.length, plan.residentBytes, plan.windowBytes], [10, 1000, 0]);
  assert.ok(within(1000, 1059)!.stream.length > 0);
});

test('as few as possible stream, spread among those that stay', () => {
  const plan = within(860)!;
  // The place and what is read take 160, which leaves room for seven.
  assert.deepEqual(plan.stream, ['block.1', 'block.5', 'block.8']);
  assert.deepEqual([plan.residentBytes, plan.placeBytes, plan.windowBytes, plan.readBytes], [700, 100, 60, 180]);
  for (let bytes = 160; bytes <= 1100; bytes += 10) {
    const found = within(bytes)!;
    assert.ok(bytesOf(found) <= bytes);
    assert.deepEqual([...found.stay, ...found.stream].sort(), blocks.map(({ name }) => name).sort());
  }
});

test('the least is the place and one read; less than that is no plan', () => {
  assert.equal(within(160)?.stream.length, 10);
  assert.equal(within(159), undefined);
  assert.equal(planBlocks([], { bytes: 0, loading: 0, largest: 0 })?.stream.length, 0);
});

test('all objects of a block are read ahead where there is room, and one of them where there is not', () => {
  const split = blocks.map((block) => ({ ...block, largest: 20 }));
  const plan = (bytes: number) => planBlocks(split, { bytes, loading: bytes, largest: 20 })!;
  assert.deepEqual([plan(860).stream.length, plan(860).windowBytes], [3, 60]);
  assert.deepEqual([plan(159).stream.length, plan(159).windowBytes], [10, 20]);
});

test('blocks of different sizes', () => {
  const uneven = [50, 400, 50].map((resident, i) => ({
    name: String(i),
    resident,
    read: resident,
    largest: resident,
  }));
  const plan = (bytes: number) => planBlocks(uneven, { bytes, loading: bytes, largest: 400 });
  assert.deepEqual(plan(900)?.stay, ['0', '1', '2']);
  assert.equal(plan(799), undefined);
});
