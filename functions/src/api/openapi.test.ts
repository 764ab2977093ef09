import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DEFAULT_LIMITS } from '../limits.ts';
import { openApiDocument } from './openapi.ts';
import { openApiFor } from './served-openapi.ts';

test('what is checked in and served is what the schemas say', async () => {
  const written = JSON.parse(JSON.stringify(openApiDocument()));
  assert.deepEqual(await openApiFor(DEFAULT_LIMITS), written, 'run npm run openapi');
});

test('an endpoint with other limits says so', async () => {
  const { GenerateRequest, EmbedRequest } = (
    await openApiFor({ ...DEFAULT_LIMITS, steps: 7, side: 64, pictures: 2, promptChars: 9 })
  ).components.schemas;
  const { properties } = GenerateRequest;
  assert.deepEqual(
    [properties.steps.maximum, properties.width.maximum, properties.n.maximum, properties.prompt.maxLength],
    [7, 64, 2, 9],
  );
  assert.equal(EmbedRequest.properties.prompt.maxLength, 9);
});
