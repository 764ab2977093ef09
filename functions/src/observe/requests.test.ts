import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Hono } from 'hono/tiny';
import type { AppEnv } from '../app-env.ts';
import { Metrics } from './metrics.ts';
import { observeRequests } from './requests.ts';

test('no client makes lines of the figures: not by paths, nor by methods that it makes up', async () => {
  const metrics = new Metrics();
  const app = new Hono<AppEnv>();
  app.use(observeRequests(metrics, () => {}));
  app.all('/jobs/:id', (c) => c.text('here'));
  for (let i = 0; i < 100; i++) {
    await app.request(`/jobs/${i}`, { method: `MADE-UP-${i}` });
    await app.request(`/nowhere/${i}`);
  }
  const counted = metrics
    .text()
    .split('\n')
    .filter((line) => line.startsWith('edge_dit_requests_total'));
  assert.deepEqual(counted.sort(), [
    'edge_dit_requests_total{route="/jobs/:id",method="other",status="200"} 100',
    'edge_dit_requests_total{route="none",method="GET",status="404"} 100',
  ]);
});
