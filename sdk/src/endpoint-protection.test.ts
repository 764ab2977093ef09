/** Who may ask, how often, from which pages; and what an endpoint tells whoever watches it. On every target. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Served } from '@edge-dit/functions/listen';
import { type ApiKey, checkApiKeys } from '@edge-dit/functions/protection/api-keys';
import { bundleCloudflareWorker, WORKERD_COMPATIBILITY } from '@edge-dit/functions/serve-workerd';
import { serveStore } from '@edge-dit/functions/store-server';
import { targets } from '@edge-dit/functions/targets/index';
import { node } from '@edge-dit/functions/targets/node';
import { Miniflare } from 'miniflare';
import { publishTiny } from './testing/tiny-class-model.ts';

const tiny = await publishTiny();
after(() => tiny.remove());

const keyOf = (name: string, extra: Partial<ApiKey> = {}): ApiKey => ({
  name,
  sha256: createHash('sha256').update(`key-of-${name}`).digest('hex'),
  scopes: ['generate', 'models'],
  ...extra,
});
const keys = [
  keyOf('app'),
  keyOf('other'),
  keyOf('watcher', { scopes: ['metrics'] }),
  keyOf('slow', { requestsPerMinute: 2 }),
  keyOf('once', { requestsPerMinute: 1 }),
  keyOf('single', { concurrency: 1 }),
];
const bearer = (name: string) => ({ authorization: `Bearer key-of-${name}` });
const JSON_TYPE = { 'content-type': 'application/json' };
const ASKED = JSON.stringify({ class: 1, seed: 1, steps: 3 });
const PERIOD_MS = 60_000;
const SLOW = JSON.stringify({ class: 1, seed: 1, steps: 400 });

for (const target of targets) {
  describe(`target ${target.name}`, () => {
    let served: Served;
    before(async () => {
      const cors = ['https://gallery.example'];
      const limits = { steps: 400 };
      served = await target.serve({ store: tiny.store, models: ['tiny'], keys, cors, limits, logLevel: 'error' });
    });
    after(() => served?.close());
    const ask = (headers: Record<string, string>, body = ASKED, signal?: AbortSignal) =>
      fetch(`${served.url}/generate`, { method: 'POST', headers: { ...JSON_TYPE, ...headers }, body, signal });

    const refused: readonly (readonly [string, Record<string, string>, number, string])[] = [
      ['no key', {}, 401, 'unauthorized'],
      ['a key that is not known', { authorization: 'Bearer nobody' }, 401, 'unauthorized'],
      ['a key without its scheme', { authorization: 'key-of-app' }, 401, 'unauthorized'],
      ['basic credentials', { authorization: 'Basic a2V5LW9mLWFwcDo=' }, 401, 'unauthorized'],
      ['an empty key', { authorization: 'Bearer ' }, 401, 'unauthorized'],
      ['the hash instead of the key', { authorization: `Bearer ${keys[0].sha256}` }, 401, 'unauthorized'],
      ['a key of another scope', bearer('watcher'), 403, 'forbidden'],
    ];
    for (const [name, headers, status, code] of refused) {
      test(`refuses ${name}`, async () => {
        const response = await ask(headers);
        const problem = await response.json();
        assert.equal(response.status, status, JSON.stringify(problem));
        assert.equal(problem.type, `urn:edge-dit:problem:${code}`);
        if (status === 401) assert.match(response.headers.get('www-authenticate')!, /^Bearer/);
        assert.doesNotMatch(JSON.stringify(problem), /key-of-|[0-9a-f]{64}/);
      });
    }

    test('scopes: pictures, models and figures each need theirs; health and the description need none', async () => {
      assert.equal((await ask(bearer('app'))).status, 200);
      const status = async (path: string, name?: string) =>
        (await fetch(served.url + path, { headers: name === undefined ? {} : bearer(name) })).status;
      assert.deepEqual([await status('/models'), await status('/models', 'app')], [401, 200]);
      assert.deepEqual([await status('/metrics', 'app'), await status('/metrics', 'watcher')], [403, 200]);
      assert.deepEqual([await status('/healthz'), await status('/openapi.json')], [200, 200]);
    });

    test('a job is seen by the key that asked for it, and by no other', async () => {
      const { id } = await (await ask({ ...bearer('app'), prefer: 'respond-async', 'idempotency-key': 'k' })).json();
      const look = async (name: string, path = '') =>
        (await fetch(`${served.url}/jobs/${id}${path}`, { headers: bearer(name) })).status;
      assert.deepEqual([await look('app'), await look('other'), await look('other', '/result')], [200, 404, 404]);
      const same = await ask({ ...bearer('other'), prefer: 'respond-async', 'idempotency-key': 'k' });
      assert.notEqual((await same.json()).id, id, 'idempotency keys are of one owner');
    });

    test('so many requests a minute, and no more', async () => {
      const statuses = [];
      for (let i = 0; i < 3; i++) statuses.push(await ask(bearer('slow')));
      assert.deepEqual(
        statuses.map(({ status }) => status),
        [200, 200, 429],
      );
      const after = Number(statuses[2].headers.get('retry-after'));
      assert.ok(after >= 1 && after <= 30, `${after}`);
      assert.equal((await ask(bearer('app'))).status, 200, 'others are not concerned');
    });

    test('whoever may not ask for more may look at a job, and end it', async () => {
      const created = await ask({ ...bearer('once'), prefer: 'respond-async' }, SLOW);
      assert.equal(created.status, 202);
      assert.equal((await ask(bearer('once'))).status, 429);
      const { id } = await created.json();
      const job = async (method: string) => {
        const response = await fetch(`${served.url}/jobs/${id}`, { method, headers: bearer('once') });
        assert.equal(response.status, 200);
        return (await response.json()).status;
      };
      assert.match(await job('GET'), /^(queued|running)$/);
      assert.deepEqual([await job('DELETE'), await job('GET')], ['canceled', 'canceled']);
    });

    test('so many at once, events among them, and no more', async () => {
      const leaving = new AbortController();
      const stream = await ask({ ...bearer('single'), accept: 'text/event-stream' }, SLOW, leaving.signal);
      assert.equal(stream.status, 200);
      assert.equal((await ask(bearer('single'))).status, 429);
      leaving.abort();
      // It ends within a step of its client's leaving, or, where the host does not see that, with its last.
      let status = 429;
      for (let tries = 0; tries < 200 && status === 429; tries++) {
        await sleep(100);
        ({ status } = await ask(bearer('single')));
      }
      assert.equal(status, 200);
    });

    test('pages of the configured origin may ask, others may not', async () => {
      const preflight = async (origin: string) => {
        const headers = {
          origin,
          'access-control-request-method': 'POST',
          'access-control-request-headers': 'authorization',
        };
        return fetch(`${served.url}/generate`, { method: 'OPTIONS', headers });
      };
      const allowed = await preflight('https://gallery.example');
      assert.equal(allowed.headers.get('access-control-allow-origin'), 'https://gallery.example');
      assert.equal((await preflight('https://evil.example')).headers.get('access-control-allow-origin'), null);
      const answer = await ask({ ...bearer('app'), origin: 'https://gallery.example' });
      assert.match(answer.headers.get('access-control-expose-headers')!, /x-seed/);
    });

    test('every answer has the headers that protect, and the id of its request', async () => {
      const answers = [
        await ask({ ...bearer('app'), 'x-request-id': 'mine-1' }),
        await ask({ 'x-request-id': 'mine-1' }),
        await fetch(`${served.url}/nothing`, { headers: { 'x-request-id': 'mine-1' } }),
      ];
      for (const { headers } of answers) {
        assert.equal(headers.get('x-content-type-options'), 'nosniff');
        assert.equal(headers.get('x-frame-options'), 'SAMEORIGIN');
        assert.equal(headers.get('referrer-policy'), 'no-referrer');
        assert.equal(headers.get('x-request-id'), 'mine-1');
      }
      const { headers } = await ask({ ...bearer('app'), 'x-request-id': 'two words' });
      assert.match(headers.get('x-request-id')!, /^[0-9a-f-]{36}$/);
    });
  });
}

test('node: a key has so many jobs that have not ended, also when it asks for many at once', async () => {
  const served = await node.serve({
    store: tiny.store,
    models: ['tiny'],
    keys,
    limits: { steps: 400, jobsPerKey: 3 },
    logLevel: 'error',
  });
  try {
    const submit = () =>
      fetch(`${served.url}/generate`, {
        method: 'POST',
        headers: { ...JSON_TYPE, ...bearer('app'), prefer: 'respond-async' },
        body: SLOW,
      });
    const answers = await Promise.all(Array.from({ length: 12 }, submit));
    const accepted = answers.filter(({ status }) => status === 202);
    assert.deepEqual([accepted.length, answers.filter(({ status }) => status === 429).length], [3, 9]);
    for (const answer of accepted) {
      const { id } = await answer.json();
      await fetch(`${served.url}/jobs/${id}`, { method: 'DELETE', headers: bearer('app') });
    }
    // A job that is cancelled ends after the step it is in.
    const patience = Date.now() + 20_000;
    let { status } = await submit();
    while (status === 429 && Date.now() < patience) {
      await sleep(100);
      ({ status } = await submit());
    }
    assert.equal(status, 202, 'those that have ended do not count');
  } finally {
    await served.close();
  }
});

test("workerd: the platform's limiter, by the name of the key", async () => {
  const folder = await mkdtemp(join(tmpdir(), 'edge-dit-limited-'));
  const shards = await serveStore(tiny.store);
  const { modules } = await bundleCloudflareWorker(folder);
  const worker = new Miniflare({
    ...WORKERD_COMPATIBILITY,
    modules: [...modules],
    modulesRoot: '.',
    bindings: { MODELS: 'tiny', SHARDS_URL: shards.url, API_KEYS: JSON.stringify(keys), LOG: 'error' },
    durableObjects: { JOBS: { className: 'JobObject', useSQLite: true } },
    ratelimits: { RATE_LIMITER: { simple: { limit: 2, period: PERIOD_MS / 1000 } } },
  });
  try {
    const ask = (name: string) =>
      worker.dispatchFetch('http://worker/generate', {
        method: 'POST',
        headers: { ...JSON_TYPE, ...bearer(name) },
        body: ASKED,
      });
    // Its count begins anew with each minute: not between these questions.
    const left = PERIOD_MS - (Date.now() % PERIOD_MS);
    if (left < 8_000) await sleep(left);
    // A key with a limit of its own of one at once: what is refused must not stay under way.
    const answers = [await ask('single'), await ask('single'), await ask('single'), await ask('single')];
    assert.deepEqual(
      answers.map(({ status }) => status),
      [200, 200, 429, 429],
    );
    const problem = (await answers[3].json()) as { type: string; detail: string };
    assert.equal(problem.type, 'urn:edge-dit:problem:too-many-requests');
    assert.match(problem.detail, /"single" asks too often; come back in 10 s/);
    assert.equal(answers[3].headers.get('retry-after'), '10');
    assert.equal((await ask('app')).status, 200, 'another key has its own count');
    assert.equal((await worker.dispatchFetch('http://worker/healthz')).status, 200);
  } finally {
    await worker.dispose();
    await shards.close();
    await rm(folder, { recursive: true });
  }
});

test('keys that are no keys are said, without their values', () => {
  const bad: readonly (readonly [unknown, RegExp])[] = [
    [[], /at least/],
    [{}, /expected array/],
    [[{ name: 'a', sha256: 'secret' }], /0\.sha256/],
    [[{ name: 'a b', sha256: '0'.repeat(64) }], /0\.name/],
    [[{ name: 'a', sha256: '0'.repeat(64), scopes: ['all'] }], /0\.scopes/],
    [[{ name: 'a', sha256: '0'.repeat(64), key: 'secret' }], /unknown: "key"/],
    [[keyOf('a'), keyOf('a')], /two keys have the same name/],
    [[keyOf('a'), keyOf('b', { sha256: keyOf('a').sha256 })], /two keys have the same sha256/],
  ];
  for (const [given, reason] of bad) {
    assert.throws(
      () => checkApiKeys(given),
      (error: Error) => {
        assert.match(error.message, reason);
        assert.doesNotMatch(error.message, /secret/);
        return true;
      },
    );
  }
});
