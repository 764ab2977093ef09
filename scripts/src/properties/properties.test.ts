import assert from 'node:assert/strict';
import { test } from 'node:test';
import { serveNode } from '@edge-dit/functions/targets/node';
import { publishTiny } from '@edge-dit/sdk/testing/tiny-class-model';
import { checkProperties } from './properties.ts';

test('requests made from the OpenAPI document have answers that it declares', async (t) => {
  const tiny = await publishTiny();
  const limits = { steps: 3, side: 32, pictures: 2, keptMs: 2000 };
  const served = await serveNode({ store: tiny.store, models: ['tiny'], limits, logLevel: 'error' });
  try {
    const { answers, requests } = await checkProperties({ url: served.url, requests: 400, seed: 7 });
    t.diagnostic(JSON.stringify(answers));
    assert.equal(requests, 400);
    assert.ok(answers['generate 200'] > 20 && answers['generate 422'] > 20 && answers['generate 202'] > 5);
  } finally {
    await served.close();
    await tiny.remove();
  }
});
