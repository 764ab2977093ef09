import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { MemoryStore } from '@edge-dit/runtime/stores/memory';
import { compileKernels } from '@edge-dit/wasm-kernels/assemble';
import { createApp } from '../app.ts';
import type { Jobs } from '../jobs/jobs.ts';
import { ModelHost } from '../model-host.ts';
import { ANYBODY } from '../protection/api-keys.ts';
import { aJob } from '../testing/job-store-conformance.ts';

test('who asks only for the head of the events of a job leaves nothing behind that looks at it', async () => {
  let looks = 0;
  const refuse = () => assert.fail('only read');
  const jobs: Jobs = {
    async read() {
      looks++;
      return { job: { ...aJob, owner: ANYBODY.name, status: 'running' } };
    },
    submit: refuse,
    picture: refuse,
    cancel: refuse,
  };
  const pipeline = { store: new MemoryStore(), kernels: await compileKernels() };
  const app = createApp({ models: new ModelHost({ models: ['m'], pipeline }), jobs, log: () => {} });
  const ask = (method: string, signal?: AbortSignal) =>
    app.request(`/jobs/${aJob.id}`, { method, headers: { accept: 'text/event-stream' }, signal });
  const leaving = new AbortController();
  const followed = await ask('GET', leaving.signal);
  const head = await ask('HEAD');
  assert.deepEqual([head.status, head.body], [200, null]);
  assert.equal(head.headers.get('content-type'), followed.headers.get('content-type'));
  await followed.body?.cancel();
  await sleep(50);
  looks = 0;
  await sleep(500);
  assert.equal(looks, 0);
});
