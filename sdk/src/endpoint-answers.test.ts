/** In which forms an endpoint answers, on every target, and its jobs: with a small model, whose steps take milliseconds. */
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { request as httpRequest } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { eventSchemas, healthSchema, jobSchema, modelsSchema, picturesSchema } from '@edge-dit/functions/api/answers';
import { listen, type Served } from '@edge-dit/functions/listen';
import { targets } from '@edge-dit/functions/targets/index';
import { publishTiny } from './testing/tiny-class-model.ts';

const tiny = await publishTiny(['tiny', 'other']);
const scratch = await mkdtemp(join(tmpdir(), 'edge-dit-answers-'));
after(async () => {
  await tiny.remove();
  await rm(scratch, { recursive: true });
});

const ASKED = { class: 3, seed: 5, steps: 6, guidance: 2 };
/** Far more than a test waits for. */
const LONG = { ...ASKED, steps: 400, n: 4 };
const SECRET = 'a secret of more than 24 characters';

const post = (url: string, body: unknown, headers: Record<string, string> = {}) =>
  fetch(`${url}/generate`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
  });
const bytesOf = async (response: Response) => Buffer.from(await response.arrayBuffer());
const stepsOf = async (url: string) => healthSchema.parse(await (await fetch(`${url}/healthz`)).json()).work.steps;

/** Until the work is well under way. */
async function moreSteps(url: string, start: number) {
  for (let tries = 0; tries < 1000; tries++) {
    if ((await stepsOf(url)) >= start + 5) return;
    await sleep(10);
  }
  assert.fail('nothing is computed');
}

interface Event {
  readonly name: string;
  readonly data: unknown;
}

function eventsOf(text: string): Event[] {
  return text
    .split('\n\n')
    .filter((block) => block.startsWith('event: '))
    .map((block) => {
      const [, name, data] = /^event: (\w+)\ndata: (.*)$/.exec(block)!;
      const schema = eventSchemas[name as keyof typeof eventSchemas];
      return { name, data: schema.parse(JSON.parse(data)) };
    });
}

async function endOf(url: string, id: string) {
  for (let tries = 0; tries < 1000; tries++) {
    const job = jobSchema.parse(await (await fetch(`${url}/jobs/${id}`)).json());
    if (job.completed_at !== null) return job;
    await sleep(30);
  }
  return assert.fail('the job does not end');
}

for (const target of targets) {
  describe(`target ${target.name}`, () => {
    let served: Served;
    let receiver: Served;
    const told: { headers: Headers; body: string }[] = [];
    const followed: string[] = [];
    let png: Buffer;

    before(async () => {
      receiver = await listen(async (request) => {
        const { pathname } = new URL(request.url);
        if (pathname === '/elsewhere') followed.push(pathname);
        if (pathname === '/leads-elsewhere') {
          return new Response(null, { status: 302, headers: { location: `${receiver.url}/elsewhere` } });
        }
        told.push({ headers: request.headers, body: await request.text() });
        return new Response();
      });
      served = await target.serve({
        store: tiny.store,
        models: ['tiny', 'other'],
        limits: { steps: 1000, sliceMs: 20, keptMs: 60_000 },
        jobsFolder: join(scratch, target.name),
        webhooks: {
          addresses: { receiver: `${receiver.url}/hook`, away: `${receiver.url}/leads-elsewhere` },
          secret: SECRET,
        },
      });
      png = await bytesOf(await post(served.url, ASKED));
      assert.equal(png.subarray(1, 4).toString(), 'PNG');
    });
    after(async () => {
      await served?.close();
      await receiver?.close();
    });

    test('pictures as JSON: with their seeds, and the bytes of the PNG', async () => {
      const response = await post(served.url, { ...ASKED, n: 3 }, { accept: 'application/json' });
      const answer = picturesSchema.parse(await response.json());
      assert.deepEqual(
        answer.pictures.map(({ seed }) => seed),
        [5, 6, 7],
      );
      assert.deepEqual(Buffer.from(answer.pictures[0].data, 'base64'), png);
      const second = await bytesOf(await post(served.url, { ...ASKED, seed: 6 }));
      assert.deepEqual(Buffer.from(answer.pictures[1].data, 'base64'), second);
    });

    test('events: start, progress of every step, previews, and the pictures at the end', async () => {
      const response = await post(served.url, { ...ASKED, n: 2 }, { accept: 'text/event-stream' });
      assert.equal(response.headers.get('content-type'), 'text/event-stream; charset=utf-8');
      const events = eventsOf(await response.text());
      const count = (name: string) => events.filter((event) => event.name === name).length;
      assert.equal(events[0].name, 'start');
      assert.equal(count('progress'), 2 * ASKED.steps);
      assert.equal(count('preview'), 2 * (ASKED.steps - 1));
      const { pictures } = picturesSchema.parse(events.at(-1)!.data);
      assert.equal(events.at(-1)!.name, 'completed');
      assert.deepEqual(Buffer.from(pictures[0].data, 'base64'), png);
    });

    test('the form is chosen by quality, then precision, then order', async () => {
      const forms: readonly (readonly [string, string])[] = [
        ['*/*', 'image/png'],
        ['application/json, text/plain, */*', 'application/json'],
        ['image/png;q=0.5, application/json;q=0.4', 'image/png'],
        ['text/event-stream;q=0.9, image/*;q=0.2', 'text/event-stream; charset=utf-8'],
        ['image/png;q=0, */*', 'application/json'],
      ];
      for (const [accept, type] of forms) {
        const response = await post(served.url, { ...ASKED, steps: 1 }, { accept });
        assert.equal(response.headers.get('content-type'), type, accept);
        await response.arrayBuffer();
      }
    });

    test('a job: accepted, followed, and its result has the bytes of the picture', async () => {
      const body = { ...ASKED, n: 2, webhook: 'receiver' };
      const response = await post(served.url, body, { prefer: 'respond-async, wait=10' });
      const job = jobSchema.parse(await response.json());
      assert.equal(response.status, 202);
      assert.equal(response.headers.get('location'), `/jobs/${job.id}`);
      assert.equal(response.headers.get('preference-applied'), 'respond-async');
      assert.deepEqual(job.seeds, [5, 6]);
      const followed = await fetch(`${served.url}/jobs/${job.id}`, { headers: { accept: 'text/event-stream' } });
      const events = eventsOf(await followed.text());
      assert.deepEqual([events[0].name, events.at(-1)!.name], ['start', 'completed']);
      const ended = await endOf(served.url, job.id);
      assert.equal(ended.status, 'succeeded');
      assert.deepEqual(ended.progress, { pictures: 2, step: 6, of: 6 });
      assert.deepEqual(await bytesOf(await fetch(`${served.url}/jobs/${job.id}/result`)), png);
      const json = await fetch(`${served.url}/jobs/${job.id}/result`, { headers: { accept: 'application/json' } });
      const { pictures } = picturesSchema.parse(await json.json());
      assert.deepEqual(
        await bytesOf(await fetch(`${served.url}/jobs/${job.id}/result?index=1`)),
        Buffer.from(pictures[1].data, 'base64'),
      );
      const beyond = await fetch(`${served.url}/jobs/${job.id}/result?index=2`);
      assert.equal(beyond.status, 404);

      for (let tries = 0; tries < 100 && told.length === 0; tries++) await sleep(50);
      const [{ headers, body: sent }] = told;
      assert.deepEqual(JSON.parse(sent), { type: 'job.succeeded', timestamp: ended.completed_at, data: ended });
      const signed = `${headers.get('webhook-id')}.${headers.get('webhook-timestamp')}.${sent}`;
      const expected = createHmac('sha256', SECRET).update(signed).digest('base64');
      assert.equal(headers.get('webhook-signature'), `v1,${expected}`);
    });

    test('a webhook that leads elsewhere is not followed', async () => {
      const response = await post(served.url, { ...ASKED, webhook: 'away' }, { prefer: 'respond-async' });
      await endOf(served.url, (await response.json()).id);
      await sleep(300);
      assert.deepEqual(followed, []);
    });

    test('an idempotency key is one job, however it is asked for, at once or later', async () => {
      const key = { 'idempotency-key': 'order-7' };
      const [first, second] = await Promise.all([post(served.url, ASKED, key), post(served.url, ASKED, key)]);
      assert.deepEqual([await bytesOf(first), await bytesOf(second)], [png, png]);
      const replayed = [first, second].map(({ headers }) => headers.get('idempotent-replayed'));
      assert.deepEqual(replayed.sort(), [null, 'true']);
      const before = await stepsOf(served.url);
      assert.deepEqual(await bytesOf(await post(served.url, ASKED, key)), png);
      const asJob = await post(served.url, ASKED, { ...key, prefer: 'respond-async' });
      assert.equal(jobSchema.parse(await asJob.json()).status, 'succeeded');
      assert.equal(await stepsOf(served.url), before, 'nothing was computed again');
      const other = await post(served.url, { ...ASKED, seed: 6 }, key);
      assert.equal(other.status, 422);
      assert.equal((await other.json()).type, 'urn:edge-dit:problem:idempotency-key-reused');
    });

    test('a job that is canceled computes no step more; its result is gone, and it stays canceled', async () => {
      const { id } = jobSchema.parse(await (await post(served.url, LONG, { prefer: 'respond-async' })).json());
      const early = await fetch(`${served.url}/jobs/${id}/result`);
      assert.equal(early.status, 409);
      const start = await stepsOf(served.url);
      await moreSteps(served.url, start);
      const canceled = jobSchema.parse(await (await fetch(`${served.url}/jobs/${id}`, { method: 'DELETE' })).json());
      assert.equal(canceled.status, 'canceled');
      const steps = await stepsOf(served.url);
      await sleep(500);
      const since = (await stepsOf(served.url)) - steps;
      assert.ok(since <= 1, `${since} steps after it was canceled`);
      assert.equal((await fetch(`${served.url}/jobs/${id}/result`)).status, 410);
      const again = await fetch(`${served.url}/jobs/${id}`, { method: 'DELETE' });
      assert.deepEqual(jobSchema.parse(await again.json()), canceled);
    });

    test('a client that leaves its events, or its picture, stops the computing', async () => {
      for (const accept of ['text/event-stream', 'image/png']) {
        const start = await stepsOf(served.url);
        const headers = { 'content-type': 'application/json', accept };
        const body = accept === 'image/png' ? { ...LONG, n: 1 } : LONG;
        const request = httpRequest(`${served.url}/generate`, { method: 'POST', headers });
        request.on('error', () => {});
        request.on('response', (response) => response.on('error', () => {}).resume());
        request.end(JSON.stringify(body));
        await moreSteps(served.url, start);
        request.socket!.resetAndDestroy();
        await once(request, 'close').catch(() => {});
        // A busy machine hears of it later.
        let steps = start;
        for (let now = await stepsOf(served.url); now !== steps; now = await stepsOf(served.url)) {
          steps = now;
          assert.ok(steps < start + 400, `${accept}: it goes on`);
          await sleep(500);
        }
      }
    });

    test('health, models, figures and the description are as the schemas say', async () => {
      const health = healthSchema.parse(await (await fetch(`${served.url}/healthz`)).json());
      assert.equal(health.models[0].state, 'ready');
      modelsSchema.parse(await (await fetch(`${served.url}/models`)).json());
      const metrics = await fetch(`${served.url}/metrics`);
      assert.equal(metrics.headers.get('content-type'), 'text/plain; version=0.0.4; charset=utf-8');
      const text = await metrics.text();
      assert.match(text, /^edge_dit_requests_total\{route="\/generate",method="POST",status="200"\} \d+$/m);
      assert.match(text, /^edge_dit_model_ready\{model="tiny"\} 1$/m);
      for (const line of text.trim().split('\n'))
        assert.match(line, /^(# (HELP|TYPE) \w+ .+|\w+(\{[^}]*\})? [\d.e+-]+)$/);
      const { openapi, components } = await (await fetch(`${served.url}/openapi.json`)).json();
      assert.equal(openapi, '3.1.0');
      assert.equal(components.schemas.GenerateRequest.properties.steps.maximum, 1000, 'the limits of this endpoint');
    });

    test('a second model has its turn as well', async () => {
      const other = await bytesOf(await post(served.url, { ...ASKED, model: 'other' }));
      assert.notDeepEqual(other, png);
      assert.deepEqual(await bytesOf(await post(served.url, ASKED)), png);
    });
  });
}

test("two models that do not fit beside each other take each other's place", async () => {
  for (const target of targets) {
    const served = await target.serve({ store: tiny.store, models: ['tiny', 'other'], memoryLimitMb: 4 });
    try {
      for (const model of ['tiny', 'other', 'tiny']) {
        const response = await post(served.url, { ...ASKED, model });
        assert.equal(response.status, 200, `${target.name}, ${model}: ${await response.clone().text()}`);
        await response.arrayBuffer();
      }
    } finally {
      await served.close();
    }
  }
});

test('a job goes on in the next server that opens its folder, and its result is forgotten in time', async () => {
  for (const target of targets) {
    const jobsFolder = join(scratch, `again-${target.name}`);
    const open = () =>
      target.serve({ store: tiny.store, models: ['tiny'], jobsFolder, limits: { sliceMs: 1, keptMs: 1500 } });
    const first = await open();
    const whole = await bytesOf(await post(first.url, { ...ASKED, steps: 60 }));
    const { id } = await (await post(first.url, { ...ASKED, steps: 60 }, { prefer: 'respond-async' })).json();
    await first.close();
    const second = await open();
    try {
      const job = await endOf(second.url, id);
      assert.equal(job.status, 'succeeded');
      assert.deepEqual(await bytesOf(await fetch(`${second.url}/jobs/${id}/result`)), whole);
      await sleep(Date.parse(job.expires_at!) - Date.now() + 200);
      assert.equal((await fetch(`${second.url}/jobs/${id}`)).status, 404);
    } finally {
      await second.close();
    }
  }
});
