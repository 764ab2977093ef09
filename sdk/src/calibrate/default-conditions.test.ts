import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isEdgeDitError } from '@edge-dit/runtime/errors';
import type { Geometry } from '@edge-dit/runtime/models/architecture';
import { parseConditions } from './default-conditions.ts';

const of = (conditioning: Geometry['conditioning']) => ({ conditioning }) as Geometry;
const text = of({ kind: 'text', channels: 8, microConditions: false });
const classes = of({ kind: 'class', classes: 10 });

test('the model decides whether lines are prompts or classes', () => {
  assert.deepEqual(parseConditions('1\n# no\n\n 1984 \n', text, 'f'), ['1', '1984']);
  assert.deepEqual(parseConditions('1\n9\n', classes, 'f'), [1, 9]);
});

test('lines that are not of the model are refused by name', () => {
  const refused = (lines: string, geometry: Geometry, message: RegExp) =>
    assert.throws(
      () => parseConditions(lines, geometry, 'f.txt'),
      (error) => isEdgeDitError(error, 'invalid-argument') && message.test(error.message),
    );
  refused('# none\n', text, /^f\.txt has no prompts/);
  refused('1\n10', classes, /^f\.txt: "10" is not a class of this model; expected 0 to 9/);
  refused('a cat', classes, /"a cat" is not a class/);
});
