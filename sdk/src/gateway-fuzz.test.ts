/** A few of the cases of `npm run evidence:fuzz-gateway`. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fuzzGateway } from './testing/fuzz-gateway.ts';

test('whatever is asked, a gateway answers with what it may give, or with a refusal', async (t) => {
  const cases = 4000;
  const counts = await fuzzGateway({ cases, seed: 7 });
  t.diagnostic(JSON.stringify(counts));
  assert.equal(
    Object.values(counts).reduce((a, b) => a + b, 0),
    cases,
  );
  for (const status of [200, 206, 304, 404, 405, 416])
    assert.ok(counts[status] > 10, `${counts[status]} times ${status}`);
});
