/**
 * Requests made from an endpoint's own OpenAPI document, valid, nearly valid and not at all; every answer has a status that the
 * document declares for it, in a form that it declares, and matches its schema.
 */
import assert from 'node:assert/strict';
import { Ajv2020 } from 'ajv/dist/2020.js';
import fc from 'fast-check';
import { sendAgainIfClosed } from '../send-again.ts';
import { nearlyValid, type Schema, validValue } from './arbitraries.ts';

interface Answer {
  readonly content?: Readonly<Record<string, { readonly schema: Schema }>>;
}
interface Operation {
  readonly operationId: string;
  readonly requestBody?: { readonly content: Readonly<Record<string, { readonly schema: Schema }>> };
  readonly responses: Readonly<Record<string, Answer>>;
}
interface Document {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: { readonly schemas: Readonly<Record<string, Schema>> };
}

export interface PropertyOptions {
  readonly url: string;
  readonly requests: number;
  readonly seed: number;
  readonly onProgress?: (done: number) => void;
}

export interface PropertyResults {
  readonly requests: number;
  readonly seed: number;
  /** Requests that were sent again, because their connection was closed under them. */
  readonly closed: number;
  /** How often, by operation and status. */
  readonly answers: Readonly<Record<string, number>>;
}

const TYPES = [
  'image/png',
  'application/json',
  'text/event-stream',
  '*/*',
  'image/*;q=0.5, */*;q=0.1',
  'text/html',
  ';;,,',
];

export async function checkProperties(options: PropertyOptions): Promise<PropertyResults> {
  const { url, requests, seed, onProgress } = options;
  const document = (await (await fetch(`${url}/openapi.json`)).json()) as Document;
  const ajv = new Ajv2020({ strict: false, validateFormats: false });
  ajv.addSchema(document, 'openapi');
  const check = (value: unknown, pointer: string) => {
    const validate = ajv.getSchema(`openapi#${pointer}`)!;
    assert.ok(
      validate(value),
      `${pointer}: ${JSON.stringify(validate.errors)} of ${JSON.stringify(value).slice(0, 400)}`,
    );
  };
  const answers: Record<string, number> = {};
  /** Of jobs that exist. */
  const ids: string[] = [];
  let [done, closed] = [0, 0];
  const property = fc.asyncProperty(requestOf(document), async (request) => {
    const { path, method, operation } = request;
    const id = request.known !== undefined && ids.length > 0 ? ids[request.known % ids.length] : request.id;
    const send = () =>
      fetch(url + path.replace('{id}', encodeURIComponent(id)) + request.query, {
        method: method.toUpperCase(),
        headers: request.headers,
        body: request.body,
      });
    const response = await sendAgainIfClosed(send, () => closed++);
    const bytes = Buffer.from(await response.arrayBuffer());
    const key = `${operation.operationId} ${response.status}`;
    answers[key] = (answers[key] ?? 0) + 1;
    done++;
    onProgress?.(done);
    const type = response.headers.get('content-type')?.split(';')[0] ?? '';
    const declared = operation.responses[response.status];
    assert.ok(declared, `${key} is not declared: ${bytes.toString().slice(0, 400)}`);
    assert.notEqual(response.status, 500, bytes.toString());
    assert.ok(declared.content?.[type], `${key}: ${type} is not declared`);
    assert.ok(response.headers.get('x-request-id'));
    if (type === 'image/png') assert.equal(bytes.subarray(1, 4).toString(), 'PNG');
    if (type === 'text/event-stream') checkEvents(bytes.toString(), check);
    if (!type.endsWith('json')) return;
    const value = JSON.parse(bytes.toString());
    check(value, `/components/schemas/${nameOf(declared.content[type].schema)}`);
    if (response.status === 202) ids.push(value.id);
  });
  await fc.assert(property, { numRuns: requests, seed, endOnFailure: true });
  return {
    requests: done,
    seed,
    closed,
    answers: Object.fromEntries(Object.entries(answers).sort(([a], [b]) => (a < b ? -1 : 1))),
  };
}

function checkEvents(text: string, check: (value: unknown, pointer: string) => void): void {
  const events = [...text.matchAll(/^event: (\w+)\ndata: (.*)$/gm)];
  for (const [, name, data] of events) check(JSON.parse(data), `/components/schemas/Event_${name}`);
  assert.ok(['completed', 'error'].includes(events.at(-1)![1]), 'events end');
}

const nameOf = ({ $ref = '' }: Schema) => $ref.slice($ref.lastIndexOf('/') + 1);

interface Asked {
  readonly path: string;
  readonly method: string;
  readonly operation: Operation;
  readonly id: string;
  /** Which of the jobs that exist, instead of `id`. */
  readonly known: number | undefined;
  readonly query: string;
  readonly headers: Record<string, string>;
  readonly body: string | undefined;
}

function requestOf({ paths, components }: Document): fc.Arbitrary<Asked> {
  const operations = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods)
      .filter(([method]) => ['get', 'post', 'delete'].includes(method))
      .map(([method, operation]) => ({ path, method, operation })),
  );
  const headers = fc.record(
    {
      accept: fc.constantFrom(...TYPES),
      prefer: fc.constantFrom('respond-async', 'respond-async, wait=1', 'return=minimal', ''),
      // Few, so that they come again.
      'idempotency-key': fc.oneof(fc.constantFrom('a', 'b', 'c', 'two words', 'x'.repeat(300)), fc.uuid()),
      'x-request-id': fc.constantFrom('id-1', 'no id', 'x'.repeat(500)),
    },
    { requiredKeys: [] },
  );
  return fc.oneof(
    ...operations.map(({ path, method, operation }) => ({
      // Most of what can go wrong is in what is sent.
      weight: operation.operationId === 'generate' ? 24 : operation.requestBody ? 4 : 1,
      arbitrary: fc.record({
        path: fc.constant(path),
        method: fc.constant(method),
        operation: fc.constant(operation),
        id: fc.oneof(
          fc.stringMatching(/^[0-9a-f]{32}$/),
          fc.string({ minLength: 1, unit: 'grapheme' }).filter(isSegment),
        ),
        known: fc.option(fc.nat(1000), { nil: undefined }),
        query: path.endsWith('/result')
          ? fc.constantFrom('', '?index=0', '?index=1', '?index=7', '?index=-1', '?index=x')
          : fc.constant(''),
        headers: operation.requestBody ? typedHeaders(headers) : headers,
        body: operation.requestBody ? bodyOf(components.schemas, operation) : fc.constant(undefined),
      }),
    })),
  ) as fc.Arbitrary<Asked>;
}

/** A segment of a path that clients do not take for the folder above. */
const isSegment = (text: string) => !/^\.{1,2}$/.test(text) && !/\p{Surrogate}/u.test(text);

const typedHeaders = (headers: fc.Arbitrary<object>) =>
  fc
    .tuple(
      headers,
      fc.oneof(
        { weight: 20, arbitrary: fc.constant('application/json') },
        { weight: 1, arbitrary: fc.constant('text/plain') },
      ),
    )
    .map(([others, type]) => ({ ...others, 'content-type': type }));

function bodyOf(schemas: Document['components']['schemas'], operation: Operation): fc.Arbitrary<string> {
  const schema = schemas[nameOf(operation.requestBody!.content['application/json'].schema)];
  const valid = validValue(schema);
  // What this endpoint's model can do, so that many requests are computed.
  const feasible = fc.record(
    {
      class: fc.nat(9),
      seed: fc.nat(5),
      steps: fc.integer({ min: 1, max: schema.properties?.steps?.maximum ?? 1 }),
      guidance: fc.constantFrom(1, 2),
      n: fc.integer({ min: 1, max: schema.properties?.n?.maximum ?? 1 }),
    },
    { requiredKeys: ['class', 'steps'] },
  );
  return fc.oneof(
    { weight: 8, arbitrary: feasible.map((value) => JSON.stringify(value)) },
    { weight: 3, arbitrary: valid.map((value) => JSON.stringify(value)) },
    { weight: 5, arbitrary: nearlyValid(schema, feasible).map((value) => JSON.stringify(value)) },
    { weight: 1, arbitrary: fc.oneof(fc.json(), fc.string()) },
  );
}
