import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { isEdgeDitError } from '@edge-dit/runtime/errors';
import { openStore, openWritableStore } from './stores.ts';

const root = await mkdtemp(join(tmpdir(), 'edge-dit-open-'));
after(() => rm(root, { recursive: true }));

test('a folder, its URL and its path are the same store', async () => {
  await openWritableStore(join(root, 'a b'), {}).put('models/m.json', new Uint8Array([1]));
  for (const place of [join(root, 'a b'), pathToFileURL(join(root, 'a b')).href, `file:${join(root, 'a b')}`]) {
    assert.equal((await openWritableStore(place, {}).head('models/m.json'))?.size, 1, place);
  }
});

test('places are told apart by their scheme', () => {
  assert.equal(openStore('memory:', {}).name, 'memory');
  assert.equal(openStore('https://cdn.example/models/?token=secret', {}).name, 'https://cdn.example/models/');
  assert.equal(openStore('s3://bucket', { AWS_REGION: 'eu-west-1' }).name, 's3://bucket');
  assert.equal(openStore('s3://bucket/a/b/', { S3_ENDPOINT: 'http://127.0.0.1:1' }).name, 's3://bucket/a/b');
  assert.match(openStore('./models', {}).name, /^file:\/.*models$/);
});

test('what cannot be opened says what can', () => {
  const refused = (place: string, code: Parameters<typeof isEdgeDitError>[1], message: RegExp) =>
    assert.throws(
      () => openWritableStore(place, {}),
      (error) => isEdgeDitError(error, code) && message.test(error.message),
      place,
    );
  refused(
    'gs://bucket',
    'unknown-name',
    /unknown kind of store "gs"; did you mean "s3"\? Known: file, s3, http, https, memory/,
  );
  refused('constructor://x', 'unknown-name', /unknown kind of store "constructor"/);
  refused(
    'https://cdn.example',
    'invalid-argument',
    /https:\/\/cdn\.example\/ can only be read; publish to a folder or to s3/,
  );
  refused('s3://', 'invalid-argument', /write s3:\/\/bucket/);
  refused('s3://bucket/../x', 'invalid-argument', /is not acceptable/);
  refused('', 'invalid-argument', /empty/);
});
