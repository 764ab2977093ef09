/** A few of the loads of `npm run evidence:faults`: over plain HTTP always, over S3 where a server is given. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { compileKernels } from '@edge-dit/wasm-kernels/assemble';
import { openFaultOrigins } from './testing/fault-origins.ts';
import { FAULTS } from './testing/fault-proxy.ts';
import { loadUnderFaults } from './testing/load-under-faults.ts';
import { openPublicBucket } from './testing/public-bucket.ts';
import { randomModel } from './testing/random-model.ts';

const endpoint = process.env.S3_ENDPOINT;
const skipS3 =
  endpoint === undefined
    ? 'no S3 server: run scripts/s3-ceph.sh start, evaluate what it prints, and test again'
    : undefined;
const LOADS = 24;
const LIMIT_MS = 15_000;
/** A timer that is late on a busy machine is no fault of the code. */
const GRACE_MS = 3000;

const versions = [await randomModel({ model: 'm', seed: 1 }), await randomModel({ model: 'm', seed: 2 })] as const;

async function run(s3?: { endpoint: string; bucket: string }) {
  const origins = await openFaultOrigins({ seed: 11, rate: 0.05, versions, s3 });
  try {
    const kernels = await compileKernels();
    const options = { kernels, versions, stores: origins.stores, loads: LOADS, atOnce: 6, limitMs: LIMIT_MS };
    const outcomes = await loadUnderFaults(options);
    assert.equal(outcomes.length, LOADS);
    const slowest = Math.max(...outcomes.map(({ ms }) => ms));
    assert.ok(slowest <= LIMIT_MS + GRACE_MS, `a load took ${slowest} ms`);
    const whole = outcomes.filter(({ end }) => end === 'whole').length;
    assert.ok(whole >= LOADS / 2, `${whole} of ${LOADS} loads were whole`);
    // Every fault was there to be overcome.
    for (const fault of FAULTS)
      assert.ok(
        origins.proxies.some(({ counts }) => counts[fault] > 0),
        fault,
      );
  } finally {
    await origins.close();
  }
}

describe('a model is loaded whole or not at all, in bounded time, whatever the network does', () => {
  test('over HTTP', () => run());

  test('over S3', { skip: skipS3 }, async () => {
    await run(await openPublicBucket(endpoint!));
  });
});
