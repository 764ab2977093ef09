import assert from 'node:assert/strict';
import { test } from 'node:test';
import { unknownName } from './errors.ts';

test('an unknown name: the nearest one where one is near, and always all', () => {
  const message = (name: string) => unknownName('recipe', name, ['w8a8', 'w4a8']).message;
  assert.equal(message('w4a9'), 'unknown recipe "w4a9"; did you mean "w4a8"? Known: w8a8, w4a8.');
  assert.equal(message('FooModel'), 'unknown recipe "FooModel"; known: w8a8, w4a8.');
});
