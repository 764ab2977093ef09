/** The client that programs use, against an endpoint of Node. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, test } from 'node:test';
import { EndpointClient, EndpointProblem, pictureBytes } from '@edge-dit/functions/client';
import { serveNode } from '@edge-dit/functions/targets/node';
import { publishTiny } from './testing/tiny-class-model.ts';

const tiny = await publishTiny();
const sha256 = createHash('sha256').update('the-key').digest('hex');
const keys = [{ name: 'app', sha256, scopes: ['generate' as const, 'models' as const] }];
const served = await serveNode({
  store: tiny.store,
  models: ['tiny'],
  keys,
  logLevel: 'error',
  limits: { steps: 400 },
});
after(async () => {
  await served.close();
  await tiny.remove();
});
const client = new EndpointClient({ url: `${served.url}/`, key: 'the-key' });
const asked = { class: 2, seed: 9, steps: 4 };

test('a picture, pictures, events and a job: the same bytes in each form', async () => {
  const { png, seed, modelDigest } = await client.picture(asked);
  assert.equal(seed, 9);
  const [model] = (await client.models()).models;
  assert.ok('digest' in model && model.digest === modelDigest);
  const { pictures } = await client.pictures({ ...asked, n: 2 });
  assert.deepEqual(pictureBytes(pictures[0]), png);
  const names: string[] = [];
  for await (const event of client.events(asked)) {
    names.push(event.name);
    if (event.name === 'completed') assert.deepEqual(pictureBytes(event.data.pictures[0]), png);
  }
  assert.deepEqual(
    names.filter((name) => name !== 'preview'),
    ['start', ...Array(4).fill('progress'), 'completed'],
  );
  const job = await client.submit(asked, { idempotencyKey: 'one' });
  assert.equal((await client.submit(asked, { idempotencyKey: 'one' })).id, job.id);
  assert.deepEqual(pictureBytes((await client.wait(job.id)).pictures[0]), png);
  let last = '';
  for await (const { name } of client.follow(job.id)) last = name;
  assert.equal(last, 'completed');
});

test('who leaves the loop of events stops the work', async () => {
  for await (const event of client.events({ ...asked, steps: 400, n: 4 })) if (event.name === 'progress') break;
  for (let tries = 0; (await client.health()).work.running > 0; tries++) {
    assert.ok(tries < 100, 'it goes on');
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  const { steps } = (await client.health()).work;
  assert.ok(steps < 400, `${steps}`);
});

test('problems have their status, their fields, and when to come back', async () => {
  await assert.rejects(client.picture({ ...asked, steps: 0 }), (error) => {
    assert.ok(error instanceof EndpointProblem);
    assert.equal(error.status, 422);
    assert.deepEqual(
      error.errors.map(({ pointer }) => pointer),
      ['#/steps'],
    );
    return true;
  });
  const { id } = await client.submit({ ...asked, steps: 400, n: 4 });
  assert.equal((await client.cancel(id)).status, 'canceled');
  await assert.rejects(client.wait(id), (error) => error instanceof EndpointProblem && error.status === 410);
  const stranger = new EndpointClient({ url: served.url });
  await assert.rejects(stranger.models(), (error) => error instanceof EndpointProblem && error.status === 401);
});
