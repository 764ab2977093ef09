import assert from 'node:assert/strict';
import { test } from 'node:test';
import { planBlocks } from './plan-blocks.ts';

const blocks = Array.from({ length: 10 }, (_, i) => ({ name: `block.${i}`, resident: 100, read: 60 }));

test('all stay where all fit', () => {
  const plan = planBlocks(blocks, { bytes: 1000 })!;
  assert.deepEqual([plan.stay.length, plan.stream.length], [10, 0]);
  assert.deepEqual([plan.residentBytes, plan.bufferBytes, plan.readBytes], [1000, 0, 0]);
});

test('as few as possible stream, spread among those that stay', () => {
  const plan = planBlocks(blocks, { bytes: 860 })!;
  // Two places and one read take 260, which leaves room for six.
  assert.deepEqual(plan.stream, ['block.1', 'block.3', 'block.6', 'block.8']);
  assert.deepEqual([plan.residentBytes, plan.bufferBytes, plan.readBytes], [600, 260, 240]);
  for (let bytes = 160; bytes <= 1100; bytes += 10) {
    const found = planBlocks(blocks, { bytes })!;
    if (!found) continue;
    assert.ok(found.residentBytes + found.bufferBytes <= bytes);
    assert.deepEqual([...found.stay, ...found.stream].sort(), blocks.map(({ name }) => name).sort());
  }
});

test('the least is the places and one read; less than that is no plan', () => {
  assert.equal(planBlocks(blocks, { bytes: 260 })?.stream.length, 10);
  assert.equal(planBlocks(blocks, { bytes: 259 }), undefined);
  assert.equal(planBlocks(blocks, { bytes: 160, ahead: 0 })?.stream.length, 10);
  assert.equal(planBlocks(blocks, { bytes: 159, ahead: 0 }), undefined);
  assert.equal(planBlocks([], { bytes: 0 })?.stream.length, 0);
});

test('blocks of different sizes', () => {
  const uneven = [50, 400, 50].map((resident, i) => ({ name: String(i), resident, read: resident }));
  assert.deepEqual(planBlocks(uneven, { bytes: 500 })?.stay, ['0', '1', '2']);
  assert.equal(planBlocks(uneven, { bytes: 499 }), undefined);
});
