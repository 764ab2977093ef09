import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { type ErrorCode, isEdgeDitError } from '@edge-dit/runtime/errors';
import { pointerKey } from '@edge-dit/runtime/format/keys';
import { FsStore } from '@edge-dit/runtime/stores/fs';
import { referenceOf, resolveModel } from './model-reference.ts';

const root = await mkdtemp(join(tmpdir(), 'edge-dit-reference-'));
after(() => rm(root, { recursive: true }));
const pointer = new TextEncoder().encode(JSON.stringify({ manifest: 'a'.repeat(64), length: 10 }));

async function publish(folder: string, ...models: string[]): Promise<string> {
  for (const model of models) await new FsStore(join(root, folder)).put(pointerKey(model), pointer);
  return join(root, folder);
}

async function found(reference: string): Promise<string> {
  const { store, model } = await resolveModel(reference);
  return `${store.name}#${model}`;
}

const refused = (reference: string, code: ErrorCode, ...mentions: string[]) =>
  assert.rejects(resolveModel(reference), (error: unknown) => {
    assert.ok(isEdgeDitError(error, code), String(error));
    for (const mention of mentions) assert.ok(error.message.includes(mention), `${mention} in ${error.message}`);
    return true;
  });

test('a model has three forms', async () => {
  const many = await publish('many', 'a', 'b.2-w4a8');
  const one = await publish('one', 'only');
  for (const reference of [`${many}/a`, `${many}/a/`, `file:${many}/a`, `file://${many}/a`, `${many}#a`]) {
    assert.equal(await found(reference), `file:${many}#a`, reference);
  }
  assert.equal(await found(referenceOf(many, 'b.2-w4a8')), `file:${many}#b.2-w4a8`);
  assert.equal(await found(referenceOf(`${many}/`, 'b.2-w4a8')), `file:${many}#b.2-w4a8`);
  for (const reference of [one, `${one}/`, `file:${one}`, `${one}/only`]) {
    assert.equal(await found(reference), `file:${one}#only`, reference);
  }
});

test('a model in the folder above comes before a store of that name', async () => {
  const outer = await publish('outer', 'inner');
  await publish('outer/inner', 'x', 'y');
  assert.equal(await found(`${outer}/inner`), `file:${outer}#inner`);
  assert.equal(await found(`${outer}/inner/x`), `file:${outer}/inner#x`);
});

test('what cannot be resolved says what is there', async () => {
  const many = await publish('several', 'red', 'green');
  await refused(many, 'invalid-argument', '2 models', `${many}/red`, `${many}/green`);
  await refused(`${many}/blue`, 'model-not-found', 'holds green, red');
  await refused(join(root, 'empty'), 'model-not-found', 'holds no models');
  await refused(`${many}#Red`, 'invalid-argument', 'names are');
  await refused('#red', 'invalid-argument', '<store>#<name>');
  await refused('', 'invalid-argument', 'empty');
  await refused('ftp://host/red', 'unknown-name', 'ftp');
});

test('over HTTP the pointer is looked for, a token goes along and is not shown', async () => {
  const asked: string[] = [];
  const server = createServer((request, response) => {
    asked.push(request.url ?? '');
    const there = request.url === '/shop/models/red.json?token=secret';
    response.writeHead(there ? 200 : 404).end(there ? pointer : undefined);
  }).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const place = `http://127.0.0.1:${(server.address() as AddressInfo).port}/shop`;
  try {
    const { store, model } = await resolveModel(`${place}/red?token=secret`);
    assert.deepEqual([store.name, model], [place, 'red']);
    assert.equal(await found(referenceOf(`${place}?token=secret`, 'red')), `${place}#red`);
    await assert.rejects(resolveModel(`${place}/blue?token=secret`), (error: unknown) => {
      assert.ok(isEdgeDitError(error, 'model-not-found') && !error.message.includes('secret'), String(error));
      return error.message.includes('cannot list');
    });
    assert.deepEqual(asked, ['/shop/models/red.json?token=secret', '/shop/models/blue.json?token=secret']);
  } finally {
    server.close();
  }
});
