/** What an endpoint refuses, on every target: status, problem type, and the field with what to write instead. */
import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import type { Served } from '@edge-dit/functions/listen';
import { targets } from '@edge-dit/functions/targets/index';
import { publishEmoji } from './testing/emoji-store.ts';
import { generate, postGenerate, sendUntilAnswered } from './testing/endpoint-client.ts';

const emoji = await publishEmoji('w4a8');
after(() => emoji.remove());

interface Row {
  readonly name: string;
  readonly path?: string;
  readonly method?: string;
  readonly body?: unknown;
  /** Instead of `body`, as it is sent. */
  readonly text?: string;
  readonly headers?: Record<string, string>;
  readonly status: number;
  readonly code: string;
  /** Of each error, in order. */
  readonly pointers?: readonly string[];
  readonly detail?: RegExp;
}

const refused = (name: string, body: unknown, pointers: readonly string[], detail: RegExp): Row => {
  return { name, body, status: 422, code: 'invalid-request', pointers, detail };
};
const apple = { prompt: 'red apple', steps: 1 };
const ASYNC = { prefer: 'respond-async' };
const EVENTS = { accept: 'text/event-stream' };

const rows: readonly Row[] = [
  refused('nothing in it', {}, ['#/prompt'], /give a prompt/),
  refused('a list', [], ['#'], /the body: got a list, give a JSON object/),
  refused('a text', 'red apple', ['#'], /give a JSON object/),
  refused('null', null, ['#'], /got null, give a JSON object/),
  refused('an empty prompt', { prompt: '' }, ['#/prompt'], /text of 1 to 1000 characters/),
  refused('a prompt of 1,001 characters', { prompt: 'x'.repeat(1001) }, ['#/prompt'], /got a text of 1001 characters/),
  refused('a prompt that is a number', { prompt: 7 }, ['#/prompt'], /got 7, give a text/),
  refused(
    'a negative prompt that is too long',
    { ...apple, negative_prompt: 'x'.repeat(1001) },
    ['#/negative_prompt'],
    /at most 1000/,
  ),
  refused('a prompt and a class', { ...apple, class: 1 }, ['#/class'], /not both/),
  refused('a class, for a model of prompts', { class: 1, steps: 1 }, ['#/class'], /takes a prompt/),
  refused('a negative class', { class: -1 }, ['#/class'], /number or the name of a class/),
  refused(
    'a negative prompt with a class',
    { class: 1, negative_prompt: 'x' },
    ['#/negative_prompt'],
    /not with a class/,
  ),
  refused('no step', { ...apple, steps: 0 }, ['#/steps'], /got 0, give a whole number from 1 to 100/),
  refused('too many steps', { ...apple, steps: 101 }, ['#/steps'], /1 to 100/),
  refused('half a step', { ...apple, steps: 1.5 }, ['#/steps'], /whole number/),
  refused('steps as a text', { ...apple, steps: '20' }, ['#/steps'], /got a text of 2 characters/),
  refused('null for a field', { ...apple, steps: null }, ['#/steps'], /got null/),
  refused('a negative seed', { ...apple, seed: -1 }, ['#/seed'], /0 to 9007199254740991/),
  refused('a seed beyond 2^53', { ...apple, seed: 2 ** 53 }, ['#/seed'], /0 to 9007199254740991/),
  refused('negative guidance', { ...apple, guidance: -0.5 }, ['#/guidance'], /from 0 to 100/),
  refused('guidance of 101', { ...apple, guidance: 101 }, ['#/guidance'], /from 0 to 100/),
  refused('a width between two patches', { ...apple, width: 100 }, ['#/width'], /multiple of 8/),
  refused('a width of 0', { ...apple, width: 0 }, ['#/width'], /1 to 1024/),
  refused('a height beyond the limit', { ...apple, height: 1032 }, ['#/height'], /1 to 1024/),
  refused('a field that is misspelt', { ...apple, step: 3 }, ['#/step'], /did you mean "steps"/),
  refused('a field that does not exist', { ...apple, url: 'http://x' }, ['#/url'], /unknown field "url"/),
  refused('a name that needs escapes', { ...apple, 'a/b~c': 1 }, ['#/a~1b~0c'], /unknown field/),
  refused('a prototype', JSON.parse('{"prompt":"x","__proto__":{"steps":1}}'), ['#/__proto__'], /unknown field/),
  refused('all faults are told at once', { prompt: 7, steps: 0, seed: -1 }, ['#/prompt', '#/seed', '#/steps'], /;/),
  {
    name: 'an unknown model',
    body: { ...apple, model: 'emojy' },
    status: 404,
    code: 'model-not-found',
    pointers: ['#/model'],
    detail: /did you mean "emoji"/,
  },
  {
    name: 'a model that is a path',
    body: { ...apple, model: '../../etc' },
    status: 404,
    code: 'model-not-found',
    pointers: ['#/model'],
  },
  {
    name: 'a model that is not published',
    body: { ...apple, model: 'absent' },
    status: 404,
    code: 'model-not-found',
    detail: /not published/,
  },
  refused('no picture', { ...apple, n: 0 }, ['#/n'], /got 0, give a whole number from 1 to 4/),
  refused('too many pictures', { ...apple, n: 5 }, ['#/n'], /1 to 4/),
  refused('half a picture', { ...apple, n: 1.5 }, ['#/n'], /whole number/),
  refused('two pictures in one PNG', { ...apple, n: 2 }, ['#/n'], /accept application\/json/),
  refused('seeds that run over', { ...apple, seed: 2 ** 53 - 1, n: 2 }, ['#/seed'], /give a smaller one/),
  refused('a webhook without a job', { ...apple, webhook: 'x' }, ['#/webhook'], /prefer: respond-async/),
  refused(
    'a webhook that is an address',
    { ...apple, webhook: 'http://169.254.169.254/' },
    ['#/webhook'],
    /respond-async/,
  ),
  refused('a webhook that is a number', { ...apple, webhook: 7 }, ['#/webhook'], /got 7, give a text/),
  {
    ...refused('an unknown webhook', { ...apple, webhook: 'x' }, ['#/webhook'], /unknown webhook "x"/),
    headers: ASYNC,
  },
  { ...refused('a job of no step', { ...apple, steps: 0 }, ['#/steps'], /1 to 100/), headers: ASYNC },
  { ...refused('a job between two patches', { ...apple, width: 100 }, ['#/width'], /multiple of 8/), headers: ASYNC },
  { ...refused('a job of a class', { class: 1, steps: 1 }, ['#/class'], /takes a prompt/), headers: ASYNC },
  { ...refused('events of no step', { ...apple, steps: 0 }, ['#/steps'], /1 to 100/), headers: EVENTS },
  {
    ...refused('events between two patches', { ...apple, height: 12 }, ['#/height'], /multiple of 8/),
    headers: EVENTS,
  },
  refused('a prompt that is an object', { prompt: { text: 'x' } }, ['#/prompt'], /got an object, give a text/),
  refused('guidance as a text', { ...apple, guidance: '3' }, ['#/guidance'], /give a number/),
  refused('a height that is true', { ...apple, height: true }, ['#/height'], /got true, give a whole number/),
  refused('a class that is empty', { class: '' }, ['#/class'], /number or the name of a class/),
  refused('a model that is empty', { ...apple, model: '' }, ['#/model'], /text of 1 to 200/),
  ...[
    ['that is empty', ''],
    ['of two words', 'two words'],
    ['beyond ASCII', '\u00fc'],
    ['of 256 characters', 'x'.repeat(256)],
  ].map(
    ([name, key]): Row => ({
      name: `an idempotency key ${name}`,
      body: apple,
      headers: { 'idempotency-key': key },
      status: 400,
      code: 'malformed-header',
      detail: /idempotency-key: give 1 to 255/,
    }),
  ),
  {
    name: 'a job that nobody asked for',
    path: `/jobs/${'0'.repeat(32)}`,
    method: 'GET',
    status: 404,
    code: 'job-not-found',
    detail: /no job of this id/,
  },
  { name: 'a job that is a path', path: '/jobs/..%2f..%2fetc', method: 'GET', status: 404, code: 'job-not-found' },
  { name: 'the end of no job', path: '/jobs/x', method: 'DELETE', status: 404, code: 'job-not-found' },
  { name: 'the result of no job', path: '/jobs/x/result', method: 'GET', status: 404, code: 'job-not-found' },
  {
    name: 'a picture that is no number',
    path: '/jobs/x/result?index=-1',
    method: 'GET',
    status: 422,
    code: 'invalid-request',
    pointers: ['#/index'],
    detail: /number of a picture/,
  },
  {
    name: 'a job as a picture',
    path: '/jobs/x',
    method: 'GET',
    headers: { accept: 'image/png' },
    status: 406,
    code: 'not-acceptable',
    detail: /application\/json/,
  },
  { name: 'a job put', path: '/jobs/x', method: 'PUT', status: 405, code: 'method-not-allowed', detail: /DELETE/ },
  { name: 'a result deleted', path: '/jobs/x/result', method: 'DELETE', status: 405, code: 'method-not-allowed' },
  { name: 'an embedding got', path: '/embed', method: 'GET', status: 405, code: 'method-not-allowed', detail: /POST/ },
  { ...refused('an embedding of nothing', {}, ['#/prompt'], /give a text/), path: '/embed' },
  { name: 'metrics posted', path: '/metrics', method: 'POST', text: '', status: 405, code: 'method-not-allowed' },
  { name: 'health deleted', path: '/healthz', method: 'DELETE', status: 405, code: 'method-not-allowed' },
  { name: 'an OpenAPI put', path: '/openapi.json', method: 'PUT', status: 405, code: 'method-not-allowed' },
  { name: 'no JSON', text: '{"prompt": ', status: 400, code: 'malformed-request', detail: /not JSON/ },
  { name: 'no body', text: '', status: 400, code: 'malformed-request' },
  {
    name: 'a form',
    text: 'prompt=x',
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    status: 415,
    code: 'unsupported-media-type',
  },
  {
    name: 'a WebP, please',
    body: apple,
    headers: { accept: 'image/webp' },
    status: 406,
    code: 'not-acceptable',
    detail: /there is image\/png, application\/json, text\/event-stream; accept one of them/,
  },
  {
    name: 'a JPEG, please',
    body: apple,
    headers: { accept: 'image/jpeg' },
    status: 406,
    code: 'not-acceptable',
    detail: /image\/png/,
  },
  {
    name: 'anything but a PNG',
    body: apple,
    headers: { accept: 'image/png;q=0, text/html' },
    status: 406,
    code: 'not-acceptable',
  },
  {
    name: 'a body of 65,537 bytes',
    text: JSON.stringify(apple).padEnd(65_537),
    status: 413,
    code: 'content-too-large',
    detail: /65536/,
  },
  { name: 'the wrong method', method: 'GET', status: 405, code: 'method-not-allowed', detail: /takes POST/ },
  { name: 'another wrong method', path: '/models', method: 'DELETE', status: 405, code: 'method-not-allowed' },
  {
    name: 'a path that does not exist',
    path: '/generate/x',
    method: 'GET',
    status: 404,
    code: 'route-not-found',
    detail: /POST \/generate/,
  },
  { name: 'a page that is not there', path: '/index.html', method: 'GET', status: 404, code: 'route-not-found' },
];

test('the table has 60 rows at least, each of its own', () => {
  assert.ok(rows.length >= 60, `${rows.length}`);
  assert.equal(new Set(rows.map(({ name }) => name)).size, rows.length);
});

for (const target of targets) {
  describe(`target ${target.name} refuses`, () => {
    let served: Served;
    after(() => served?.close());

    test('(starts)', async () => {
      served = await target.serve({ store: emoji.store, models: ['emoji', 'absent'] });
    });

    for (const { name, path = '/generate', method = 'POST', body, text, headers, ...expected } of rows) {
      test(name, async () => {
        const response = await fetch(served.url + path, {
          method,
          headers: { ...(method === 'POST' && { 'content-type': 'application/json' }), ...headers },
          body: method === 'POST' ? (text ?? JSON.stringify(body)) : undefined,
        });
        assert.equal(response.headers.get('content-type'), 'application/problem+json');
        assert.equal(response.headers.get('cache-control'), 'no-store');
        const problem = await response.json();
        assert.equal(response.status, expected.status, JSON.stringify(problem));
        assert.equal(problem.status, expected.status);
        assert.equal(problem.type, `urn:edge-dit:problem:${expected.code}`);
        assert.ok(problem.title.length > 0 && problem.detail.length > 0);
        if (expected.detail) assert.match(problem.detail, expected.detail);
        if (expected.pointers) {
          const pointers = problem.errors.map(({ pointer }: { pointer: string }) => pointer);
          assert.deepEqual(pointers.sort(), [...expected.pointers].sort());
          assert.ok(problem.errors.every(({ detail }: { detail: string }) => detail.length > 0));
        }
        if (expected.status === 405) assert.match(response.headers.get('allow')!, /POST|GET/);
      });
    }

    for (const [name, framing] of [
      ['that says its length', 'content-length: 10000000'],
      ['that does not say its length', 'transfer-encoding: chunked'],
    ]) {
      test(`a body of 10 MB ${name}, without reading it`, async () => {
        const { status, sent } = await sendUntilAnswered(served.url, framing, 10_000_000);
        assert.equal(status, 413);
        assert.ok(sent < 1_000_000, `${sent} bytes were taken`);
      });
    }

    test('nothing else: the accepted forms of Accept and Content-Type, and a full-size body', async () => {
      for (const accept of ['image/png', 'image/*', '*/*', 'text/html, image/png;q=0.1']) {
        const response = await postGenerate(served.url, JSON.stringify(apple), { accept });
        assert.equal(response.status, 200, accept);
        await response.arrayBuffer();
      }
      const padded = JSON.stringify(apple).padEnd(65_536);
      const type = { 'content-type': 'Application/JSON; charset=utf-8' };
      assert.equal((await postGenerate(served.url, padded, type)).status, 200);
      assert.equal(
        (await generate(served.url, { ...apple, prompt: '🍎 <eos> \u0000' })).headers.get('x-model'),
        'emoji',
      );
    });

    test('a model that is not published is listed as a problem beside the others', async () => {
      const { models } = await (await fetch(`${served.url}/models`)).json();
      assert.equal(models[0].id, 'emoji');
      assert.equal(models[1].id, 'absent');
      assert.equal(models[1].problem.status, 404);
      assert.doesNotMatch(JSON.stringify(models), /token=|127\.0\.0\.1/);
    });
  });
}
